"""Every rule against one-record autograd and dense projection, over a grid of configurations."""

import pytest
import torch
from token_models import Readout
from token_reference import assert_reads_truly
from torch import nn

from ptaudit.gradients.rules import RULES, base, rule_for

N = 6


def targets():
    return torch.tensor([0, 1, 2, 0, 1, 2])


def read_one(layer, inputs):
    return assert_reads_truly(nn.Sequential(layer, Readout()), inputs, targets(), {"0": "rule"})


LINEAR = {
    "rows": ((), {}),
    "no bias": ((), {"bias": False}),
    "positions": ((9,), {}),
    "two dims of positions": ((3, 4), {"bias": False}),
}


@pytest.mark.parametrize("name", LINEAR)
def test_linear(name, way):
    middle, options = LINEAR[name]
    torch.manual_seed(0)
    read_one(nn.Linear(7, 5, **options), torch.randn(N, *middle, 7))


CONV = {
    "plain 1d": (nn.Conv1d(3, 4, 3), (3, 8)),
    "plain 2d": (nn.Conv2d(3, 4, 3), (3, 6, 7)),
    "plain 3d": (nn.Conv3d(2, 4, 2, stride=(1, 2, 1), padding=1), (2, 3, 4, 5)),
    "no bias": (nn.Conv2d(3, 4, 3, bias=False), (3, 6, 6)),
    "pointwise": (nn.Conv2d(3, 5, 1), (3, 4, 4)),
    "one position": (nn.Conv2d(3, 24, 4), (3, 4, 4)),
    "stride": (nn.Conv2d(3, 4, 3, stride=2), (3, 8, 9)),
    "uneven stride and padding": (nn.Conv2d(3, 4, (3, 2), stride=(2, 3), padding=(1, 2)), (3, 7, 8)),
    "dilation": (nn.Conv2d(3, 4, 3, dilation=2, padding=2), (3, 7, 7)),
    "groups": (nn.Conv2d(4, 6, 3, groups=2, padding=1), (4, 5, 5)),
    "depthwise": (nn.Conv2d(4, 8, 3, groups=4, bias=False), (4, 5, 5)),
    "groups 1d, stride, dilation": (nn.Conv1d(4, 6, 3, groups=2, stride=2, dilation=2), (4, 11)),
    "same, even kernel": (nn.Conv2d(3, 4, (4, 3), padding="same"), (3, 6, 6)),
    "same, dilation, 1d": (nn.Conv1d(3, 4, 4, padding="same", dilation=3), (3, 12)),
    "valid": (nn.Conv1d(3, 4, 3, padding="valid"), (3, 6)),
    "reflect": (nn.Conv2d(3, 4, 3, padding=2, padding_mode="reflect"), (3, 5, 6)),
    "circular": (nn.Conv2d(3, 4, 3, padding=(1, 2), padding_mode="circular"), (3, 5, 6)),
    "replicate": (nn.Conv1d(3, 4, 3, padding=2, padding_mode="replicate", stride=2), (3, 9)),
    "same, circular": (nn.Conv2d(3, 4, (2, 3), padding="same", padding_mode="circular"), (3, 5, 6)),
}


@pytest.mark.parametrize("name", CONV)
def test_convolution(name, way):
    layer, shape = CONV[name]
    torch.manual_seed(0)
    read_one(layer, torch.randn(N, *shape))


def test_convolution_on_channels_last_input(way):
    torch.manual_seed(0)
    inputs = torch.randn(N, 3, 6, 6).to(memory_format=torch.channels_last)
    read_one(nn.Conv2d(3, 4, 3, padding=1).to(memory_format=torch.channels_last), inputs)


@pytest.mark.parametrize("shape", [(5,), (), (2, 3)], ids=str)
@pytest.mark.parametrize("options", [{}, {"padding_idx": 2}], ids=["plain", "padding"])
def test_embedding(shape, options):
    torch.manual_seed(0)
    # Few entries, so that one occurs several times in a record; every record has one that is not the padding.
    index = torch.randint(0, 4, (N, *shape)) if shape else torch.tensor([0, 1, 3, 0, 1, 3])
    read_one(nn.Embedding(4, 6, **options), index)


def test_padding_index_adds_nothing():
    torch.manual_seed(0)
    index = torch.tensor([[1, 1], [0, 1], [0, 2], [1, 1], [2, 2], [0, 0]])
    _, tokens = read_one(nn.Embedding(3, 6, padding_idx=1), index)
    assert (tokens.norm_sq[0] == 0).tolist() == [True, False, False, True, False, False]
    assert not tokens.values[0, [0, 3]].any()


NORMS = {
    "LayerNorm": (nn.LayerNorm(6), (6,)),
    "LayerNorm on positions": (nn.LayerNorm(6), (4, 6)),
    "LayerNorm over pictures": (nn.LayerNorm([2, 3, 4]), (2, 3, 4)),
    "LayerNorm without bias": (nn.LayerNorm(6, bias=False), (4, 6)),
    "GroupNorm": (nn.GroupNorm(2, 4), (4, 3, 5)),
    "GroupNorm on rows": (nn.GroupNorm(2, 4), (4,)),
    "BatchNorm1d": (nn.BatchNorm1d(4), (4,)),
    "BatchNorm1d on positions": (nn.BatchNorm1d(4), (4, 5)),
    "BatchNorm2d": (nn.BatchNorm2d(4, eps=0.1), (4, 3, 5)),
    "BatchNorm3d": (nn.BatchNorm3d(4), (4, 2, 3, 2)),
}


@pytest.mark.parametrize("name", NORMS)
def test_normalisation(name):
    layer, shape = NORMS[name]
    torch.manual_seed(0)
    for parameter in layer.parameters():
        nn.init.normal_(parameter)
    for buffer in ("running_mean", "running_var"):
        if hasattr(layer, buffer):
            nn.init.uniform_(getattr(layer, buffer), 0.5, 2)
    read_one(layer, torch.randn(N, *shape))


PARTIAL = {
    "Linear": (nn.Linear(7, 5), (3, 7)),
    "Conv2d": (nn.Conv2d(2, 4, 3, groups=2), (2, 5, 5)),
    "GroupNorm": (nn.GroupNorm(2, 4), (4, 3)),
    "LayerNorm": (nn.LayerNorm(6), (6,)),
    "BatchNorm2d": (nn.BatchNorm2d(2), (2, 3, 3)),
}


@pytest.mark.parametrize("frozen", ["weight", "bias"])
@pytest.mark.parametrize("name", PARTIAL)
def test_half_frozen(name, frozen):
    layer, shape = PARTIAL[name]
    torch.manual_seed(0)
    layer.requires_grad_(True)
    getattr(layer, frozen).requires_grad_(False)
    read_one(layer, torch.randn(N, *shape))
    layer.requires_grad_(True)


def test_pieces_cover_all_records_once(monkeypatch):
    monkeypatch.setattr(base, "MEMORY", 100)
    covered = [i for s in base.pieces(11, 30) for i in range(11)[s]]
    assert covered == list(range(11))
    assert [len(range(11)[s]) for s in base.pieces(11, 30)] == [3, 3, 3, 2]
    assert len(list(base.pieces(4, 10_000))) == 4


def test_the_registry_reaches_subclasses():
    class Mine(nn.Linear):
        pass

    assert rule_for(Mine(2, 2)) == RULES[nn.Linear]
    assert rule_for(nn.Conv1d(1, 1, 1)) is RULES[nn.Conv1d]
    assert rule_for(nn.Bilinear(2, 2, 2)) is None
