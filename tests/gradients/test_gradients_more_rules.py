"""Rules of the less common layers against one-record autograd: the same grid of cheaper, ghost and explicit."""

import pytest
import torch
from token_models import Readout
from token_reference import assert_reads_truly, cross_entropy
from torch import nn

from ptaudit.gradients.layers import find_layers
from ptaudit.gradients.per_example_pass import per_example_pass, reading_of
from ptaudit.gradients.record_losses import RecordLosses
from ptaudit.sketches.reader import TokenReader

N = 6
LINEAR = nn.functional.linear
TARGETS = torch.tensor([0, 1, 2, 0, 1, 2])


def read_one(layer, inputs):
    return assert_reads_truly(nn.Sequential(layer, Readout()), inputs, TARGETS, {"0": "rule"})


TRANSPOSED = {
    "1d": (nn.ConvTranspose1d(3, 4, 3), (3, 6)),
    "2d": (nn.ConvTranspose2d(3, 5, (3, 2)), (3, 4, 5)),
    "3d": (nn.ConvTranspose3d(2, 3, 2, stride=(1, 2, 1), padding=1), (2, 3, 4, 3)),
    "as many channels out as in": (nn.ConvTranspose2d(4, 4, 3, stride=2), (4, 3, 3)),
    "no bias": (nn.ConvTranspose2d(3, 4, 4, stride=2, padding=1, bias=False), (3, 4, 4)),
    "output padding": (nn.ConvTranspose2d(3, 4, 3, stride=2, padding=1, output_padding=1), (3, 4, 4)),
    "groups": (nn.ConvTranspose2d(4, 6, 3, groups=2), (4, 4, 4)),
    "groups, as many channels": (nn.ConvTranspose2d(4, 4, 3, groups=2, stride=(2, 1)), (4, 3, 5)),
    "depthwise": (nn.ConvTranspose1d(4, 4, 3, groups=4, bias=False), (4, 5)),
    "dilation beyond the stride": (
        nn.ConvTranspose2d(4, 6, 3, groups=2, stride=2, padding=2, dilation=3, output_padding=2),
        (4, 4, 5),
    ),
    "one position": (nn.ConvTranspose2d(24, 5, 4), (24, 1, 1)),
}


@pytest.mark.parametrize("name", TRANSPOSED)
def test_transposed_convolution(name, way):
    layer, shape = TRANSPOSED[name]
    torch.manual_seed(0)
    read_one(layer, torch.randn(N, *shape))


NORMS = {
    "InstanceNorm1d": (nn.InstanceNorm1d(3, affine=True), (3, 5)),
    "InstanceNorm2d": (nn.InstanceNorm2d(3, affine=True, eps=0.1), (3, 4, 5)),
    "InstanceNorm3d": (nn.InstanceNorm3d(3, affine=True), (3, 2, 3, 2)),
    "InstanceNorm2d with running statistics": (nn.InstanceNorm2d(3, affine=True, track_running_stats=True), (3, 4, 5)),
    "RMSNorm": (nn.RMSNorm(6), (6,)),
    "RMSNorm on positions": (nn.RMSNorm(6, eps=0.1), (4, 6)),
    "RMSNorm over pictures": (nn.RMSNorm([2, 3, 4]), (2, 3, 4)),
}


@pytest.mark.parametrize("name", NORMS)
def test_normalisation(name):
    layer, shape = NORMS[name]
    torch.manual_seed(0)
    for parameter in layer.parameters():
        nn.init.normal_(parameter)
    if getattr(layer, "running_var", None) is not None:
        nn.init.uniform_(layer.running_var, 0.5, 2)
    read_one(layer, torch.randn(N, *shape))


@pytest.mark.parametrize("slopes", [1, 3])
@pytest.mark.parametrize("shape", [(3,), (3, 4), (3, 2, 5)], ids=str)
def test_prelu(slopes, shape):
    torch.manual_seed(0)
    read_one(nn.PReLU(slopes), torch.randn(N, *shape))


@pytest.mark.parametrize("frozen", ["weight", "bias"])
@pytest.mark.parametrize("same", [True, False], ids=["as many channels", "other channels"])
def test_half_frozen_transposed_convolution(frozen, same):
    torch.manual_seed(0)
    layer = nn.ConvTranspose2d(4, 4 if same else 3, 3)
    getattr(layer, frozen).requires_grad_(False)
    read_one(layer, torch.randn(N, 4, 3, 3))


class Attend(nn.Module):
    """One attention; keys and values may be other sequences with other widths."""

    def __init__(self, mask=None, weights=False, cross=(), time_first=False, keyword=False, **options):
        super().__init__()
        self.mask, self.weights, self.cross, self.time_first = mask, weights, cross, time_first
        self.keyword = keyword
        self.attend = nn.MultiheadAttention(8, 2, batch_first=not time_first, **options)
        for parameter in self.attend.parameters():
            nn.init.normal_(parameter, std=0.4)
        self.out = Readout()

    def forward(self, x, key=None, value=None):
        others = [y for y in (key, value) if y is not None] * (2 if value is None else 1)
        query, *others = [y.transpose(0, 1) if self.time_first else y for y in (x, *others)]
        key, value = others or (query, query)
        padding = None
        if self.mask == "padding":
            padding = x.mean(2) > 0.4
            padding[:, 0] = False
        causal = torch.ones(x.shape[1], x.shape[1], dtype=torch.bool).triu(1) if self.mask == "causal" else None
        options = {"key_padding_mask": padding, "attn_mask": causal, "is_causal": causal is not None}
        options["need_weights"] = self.weights
        if self.keyword:
            h, _ = self.attend(query=query, key=key, value=value, **options)
        else:
            h, _ = self.attend(query, key, value, **options)
        return self.out(h.transpose(0, 1) if self.time_first else h)


ATTENTION = {
    "self": ({}, 1),
    "with weights": ({"weights": True}, 1),
    "time first": ({"time_first": True}, 1),
    "time first, with weights": ({"time_first": True, "weights": True}, 1),
    "by keyword": ({"keyword": True}, 1),
    "no bias": ({"bias": False}, 1),
    "padding mask": ({"mask": "padding"}, 1),
    "padding mask, with weights": ({"mask": "padding", "weights": True}, 1),
    "causal": ({"mask": "causal"}, 1),
    "key is value": ({}, 2),
    "three sequences": ({}, 3),
    "three sequences, time first": ({"time_first": True}, 3),
    "other widths": ({"kdim": 5, "vdim": 3}, (8, 5, 3)),
    "other widths, no bias": ({"kdim": 5, "vdim": 3, "bias": False}, (8, 5, 3)),
    "added key and value": ({"add_bias_kv": True}, 1),
    "added key and value, other widths, time first": (
        {"add_bias_kv": True, "kdim": 5, "vdim": 3, "time_first": True, "weights": True},
        (8, 5, 3),
    ),
    "zero attention": ({"add_zero_attn": True}, 1),
}


@pytest.mark.parametrize("name", ATTENTION)
def test_attention(name, way):
    options, widths = ATTENTION[name]
    torch.manual_seed(0)
    widths = (8,) * widths if isinstance(widths, int) else widths
    # As many positions as records, so that the two cannot be told apart by their number.
    inputs = tuple(torch.randn(N, N if k == 0 else 4, width) for k, width in enumerate(widths))
    captures = {"attend": "rule", "attend.out_proj": "rule"}
    assert_reads_truly(Attend(**options), inputs if len(inputs) > 1 else inputs[0], TARGETS, captures)


@pytest.mark.parametrize("frozen", ["in_proj_weight", "in_proj_bias", "out_proj"])
def test_attention_half_frozen(frozen):
    torch.manual_seed(0)
    model = Attend()
    getattr(model.attend, frozen).requires_grad_(False)
    captures = {"attend": "rule"} if frozen == "out_proj" else {"attend": "rule", "attend.out_proj": "rule"}
    assert_reads_truly(model, torch.randn(N, 4, 8), TARGETS, captures)


def test_attention_across_records_is_not_captured():
    """A common mistake: records first, but batch_first is not set."""

    class Wrong(nn.Module):
        def __init__(self):
            super().__init__()
            self.attend, self.out = nn.MultiheadAttention(8, 2), Readout()

        def forward(self, x):
            return self.out(self.attend(x, x, x)[0])

    torch.manual_seed(0)
    reader = TokenReader(Wrong(), cross_entropy, dim=16)
    reader.prepare(torch.randn(N, 4, 8), TARGETS)
    assert [(info.name, info.capture) for info in reader.layers] == [("attend", "none"), ("attend.out_proj", "none")]
    assert all("records are mixed" in info.reason for info in reader.layers)


LAYOUTS = {
    "Linear": nn.Linear(5, 4),
    "LayerNorm": nn.LayerNorm(5),
    "RMSNorm": nn.RMSNorm(5),
}


@pytest.mark.parametrize("length", [3, N], ids=["other length", "as many positions as records"])
@pytest.mark.parametrize("name", LAYOUTS)
def test_records_in_dimension_1(name, length):
    class TimeFirst(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer, self.out = LAYOUTS[name], Readout()

        def forward(self, x):
            return self.out(self.layer(x.transpose(0, 1)).transpose(0, 1))

    torch.manual_seed(0)
    reader, _ = assert_reads_truly(TimeFirst(), torch.randn(N, length, 5), TARGETS, {"layer": "rule"})
    assert reader.layers[0].layout == "records in dimension 1"


FUNCTIONAL = {
    "whole": lambda x, fc: nn.functional.linear(x, fc.weight, fc.bias),
    "without bias": lambda x, fc: nn.functional.linear(x, fc.weight),
    "rows": lambda x, fc: nn.functional.linear(x, fc.weight[2:4], fc.bias[2:4]),
    "bias of its own": lambda x, fc: nn.functional.linear(x, torch.eye(5), fc.bias),
    "twice over": lambda x, fc: fc(x)[..., :5] + nn.functional.linear(fc(x).sin(), fc.weight),
}


@pytest.mark.parametrize("name", FUNCTIONAL)
def test_functional_use_of_a_linear_layer(name, way):
    class Functional(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc, self.out = nn.Linear(5, 5), Readout()

        def forward(self, x):
            return self.out(FUNCTIONAL[name](x, self.fc))

    torch.manual_seed(0)
    assert_reads_truly(Functional(), torch.randn(N, 3, 5), TARGETS, {"fc": "rule"})
    assert nn.functional.linear is LINEAR


def test_what_was_replaced_is_put_back_after_an_error():
    class Fails(nn.Module):
        def __init__(self):
            super().__init__()
            self.attend, self.fc = nn.MultiheadAttention(8, 2, add_bias_kv=True, batch_first=True), nn.Linear(8, 3)

        def forward(self, x):
            self.attend(x, x, x[:, :, :5])
            return self.fc(x.mean(1))

    model = Fails()
    before = {name: id(p) for name, p in model.named_parameters()}
    readings = [reading_of(layer, "", None) for layer in find_layers(model)]
    with pytest.raises(AssertionError, match="value shape"):
        per_example_pass(RecordLosses(model, cross_entropy, torch.randn(N, 4, 8), TARGETS), readings)
    assert nn.functional.linear is LINEAR
    assert {name: id(p) for name, p in model.named_parameters()} == before
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())
    assert all(p.requires_grad for p in model.parameters())
