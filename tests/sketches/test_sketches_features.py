"""Features of records against what is known of them."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ptaudit.errors import DataError, ModelError
from ptaudit.gradients.record_losses import RecordLosses
from ptaudit.sketches.features import KINDS, features, projected
from ptaudit.training.loss import mse

N = 60


def records(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(N, *shape, generator=torch.Generator().manual_seed(seed))


def distances(x: Tensor) -> Tensor:
    return torch.pdist(x.double())


def described(kind, model: nn.Module, inputs, targets: Tensor, classes: int | None = None, **options) -> Tensor:
    return features(kind, RecordLosses(model, mse, inputs, targets), classes, **options)


def activations(model: nn.Module, inputs, **options) -> Tensor:
    return described("activations", model, inputs, torch.zeros(N), **options)


class Awkward(nn.Module):
    """A transformer layer with the records in dimension 1, an LSTM that returns tuples, a module used twice."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(20, 16)
        self.block = nn.TransformerEncoderLayer(16, 2, 32, dropout=0.5)
        self.attention = nn.MultiheadAttention(16, 2)
        self.lstm = nn.LSTM(16, 8)
        self.twice = nn.Linear(8, 8)
        self.scale = nn.Parameter(torch.ones(3))

    def forward(self, ids: Tensor) -> Tensor:
        x = self.block(self.embed(ids).transpose(0, 1))
        x = x + self.attention(x, x, x)[0]
        _, (h, _) = self.lstm(x)
        x = F.relu_(self.twice(F.relu_(self.twice(h[0]))))
        return x[:, :3] * self.scale


class Normed(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 4, 3)
        self.norm = nn.BatchNorm2d(4)
        self.drop = nn.Dropout(0.5)
        self.head = nn.Linear(4 * 36, 5)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.drop(F.relu_(self.norm(self.conv(x)))).flatten(1))


def test_activations_of_a_linear_layer_are_its_map_of_the_input():
    model, x = nn.Linear(10, 6), records(10)
    found = activations(model, x, dim=16)
    assert found.shape == (N, 16)
    assert found.dtype == torch.float32
    truth = distances(model(x).detach())
    scale = distances(found) / truth
    torch.testing.assert_close(scale / scale.mean(), torch.ones_like(scale), rtol=1e-4, atol=0)


def test_layers_count_alike_whatever_their_size():
    model, x = nn.Sequential(nn.Linear(10, 6), nn.Linear(6, 6)), records(10)
    with torch.no_grad():
        model[0].weight *= 1e4
        model[1].weight *= 1e-9
    first, second = model[0](x).detach(), model(x).detach()
    size = [part - part.mean(0) for part in (first, second)]
    side_by_side = torch.cat([part / part.square().mean().sqrt() for part in size], 1)
    scale = distances(activations(model, x, dim=1024)) / distances(side_by_side)
    assert (scale / scale.mean() - 1.0).abs().max() < 0.15


def test_projections_keep_distances():
    x = records(40000)  # more than one slab
    ratio = distances(projected(x, 512, "any")) / distances(x)
    assert (ratio - 1.0).abs().max() < 0.15  # sqrt(1 / 1024) = 0.03 is one standard deviation
    assert abs(float(ratio.mean()) - 1.0) < 0.03
    few = records(20)
    torch.testing.assert_close(distances(projected(few, 32, "any")), distances(few))


def test_input_features_are_a_projection_of_the_input():
    x = records(1, 28, 28)
    found = described("input", nn.Linear(1, 1), x, torch.zeros(N), dim=256)
    scale = distances(found) / distances(x.flatten(1))
    assert (scale / scale.mean() - 1.0).abs().max() < 0.25
    pixels = (x * 20 + 128).clamp(0, 255).byte()
    same = [described("input", nn.Linear(1, 1), p, torch.zeros(N), dim=64) for p in (pixels, pixels.float())]
    torch.testing.assert_close(*same)


def test_words_are_told_apart_by_which_and_by_where():
    words = torch.randint(0, 1000, (N, 12), generator=torch.Generator().manual_seed(0))
    words[1] = words[0]
    words[2] = words[0].flip(0)
    words[3] = words[0]
    words[3, 5] = 77777
    words[4] = words[0] + 1000  # other words, as near by number as can be
    found = described("input", nn.Linear(1, 1), words, torch.zeros(N), dim=256)
    away = (found - found[0]).norm(dim=1)
    assert float(away[1]) == 0.0
    assert 0.0 < float(away[3]) < float(away[2]) < float(away[4])
    assert float(away[4]) == pytest.approx(float(away[5:].mean()), rel=0.2)


def test_several_inputs_all_count():
    one, other = records(30), records(5, seed=1)
    alone = described("input", nn.Linear(1, 1), {"a": one, "b": torch.zeros(N, 5)}, torch.zeros(N))
    both = described("input", nn.Linear(1, 1), {"a": one, "b": other}, torch.zeros(N))
    assert both.shape == (N, 32)
    assert distances(both - alone).min() > 0  # the second tensor is in it


def test_labels_are_classes_or_numbers():
    classes = torch.randint(0, 4, (N,), generator=torch.Generator().manual_seed(0))
    found = described("label", nn.Linear(1, 1), records(2), classes.int(), classes=4)
    assert found.dtype == torch.int64
    assert torch.equal(found, classes)
    numbers = records()
    assert torch.equal(described("label", nn.Linear(1, 1), records(2), numbers), numbers[:, None])
    with pytest.raises(DataError, match="among 0 to 2"):
        described("label", nn.Linear(1, 1), records(2), classes, classes=3)
    with pytest.raises(DataError, match="one class for each record"):
        described("label", nn.Linear(1, 1), records(2), classes[:, None].expand(N, 7), classes=4)


CASES = {
    "awkward": (Awkward, torch.randint(0, 20, (N, 7), generator=torch.Generator().manual_seed(0))),
    "normed": (Normed, records(1, 8, 8)),
}


@pytest.mark.parametrize("case", CASES)
def test_neither_chunks_nor_other_records_matter(case, monkeypatch):
    build, x = CASES[case]
    torch.manual_seed(0)
    model = build()
    whole = activations(model, x)
    for chunk in (1, 7):
        monkeypatch.setattr("ptaudit.sketches.features._CHUNK", chunk)
        torch.testing.assert_close(activations(model, x), whole, rtol=1e-3, atol=1e-4)
    assert not torch.allclose(activations(model, x, seed=1), whole, atol=0.1)
    other = x.clone()
    other[-1] = x[0]
    # Only centre and size are of all records: what lies between two records changes by one factor for each part.
    changed = activations(model, other)
    torch.testing.assert_close(changed[-1], changed[0])
    close = torch.corrcoef(torch.stack([distances(whole[:-1]), distances(changed[:-1])]))[0, 1]
    assert close > 0.99


@pytest.mark.parametrize("case", CASES)
def test_the_model_is_left_as_found(case):
    build, x = CASES[case]
    torch.manual_seed(0)
    model = build().train()
    before, random = copy.deepcopy(model.state_dict()), torch.get_rng_state()
    for kind in KINDS:
        described(kind, model, x, torch.zeros(N))
    assert torch.equal(random, torch.get_rng_state())
    assert all(module.training for module in model.modules())
    assert not any(module._forward_hooks for module in model.modules())
    assert all(p.grad is None and p.requires_grad for p in model.parameters())
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert torch.is_grad_enabled()


@pytest.mark.parametrize("telling", [0, 1])
def test_every_call_is_a_part_as_it_was_before_it_was_changed_in_place(telling):

    class Hidden(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(4, 4)
            nn.init.eye_(self.layer.weight)

        def forward(self, x: Tensor) -> Tensor:
            return sum(self.layer(x * (call == telling)).mul_(0.0) for call in range(2))

    x = records(4)
    found = activations(Hidden(), x)
    scale = distances(found) / distances(x)
    torch.testing.assert_close(scale / scale.mean(), torch.ones_like(scale), rtol=1e-4, atol=0)


def test_the_row_of_a_record_is_the_same_wherever_records_are_counted():
    """Outputs with the records in dimension 1 are read by record, though that is as long as dimension 0."""

    class Turned(nn.Module):
        def __init__(self, turned: bool) -> None:
            super().__init__()
            self.turned, self.layer = turned, nn.Linear(3, 3)

        def forward(self, x: Tensor) -> Tensor:
            return self.layer(x.transpose(0, 1)).transpose(0, 1) if self.turned else self.layer(x)

    x = records(N, 3)
    models = [Turned(False), Turned(True)]
    models[1].load_state_dict(models[0].state_dict())
    one, other = (activations(model, x) for model in models)
    torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)


def test_clear_errors():
    x = records(10)
    broken = nn.Sequential(nn.Linear(10, 4), nn.Linear(4, 2))
    with torch.no_grad():
        broken[1].weight[0, 0] = torch.nan
    with pytest.raises(ModelError, match=r"1: activations are not finite"):
        activations(broken, x)
    with pytest.raises(ModelError, match="cannot be run"):
        activations(nn.Linear(7, 2), x)
    with pytest.raises(DataError, match="at least 3"):
        activations(nn.Linear(10, 2), x[:2])
    x[3, 3] = torch.inf
    with pytest.raises(DataError, match="inputs are not finite"):
        described("input", broken, x, torch.zeros(N))
    with pytest.raises(DataError, match="targets are not finite"):
        described("label", broken, x, torch.full((N,), torch.nan))
    with pytest.raises(ValueError, match="activations, input, label"):
        described("gradient", broken, x, torch.zeros(N))  # type: ignore[arg-type]


def test_a_model_whose_modules_see_no_records_is_refused():
    class Constant(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(2, 2)

        def forward(self, x: Tensor) -> Tensor:
            return x @ self.layer(torch.ones(2, 2))

    with pytest.raises(ModelError, match="something for each record"):
        activations(nn.Sequential(Constant()), records(2))


@pytest.mark.gpu
def test_features_agree_on_a_gpu():
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    torch.manual_seed(0)
    model, x = Normed(), records(1, 8, 8)
    for kind in ("activations", "input"):
        here = described(kind, model, x, torch.zeros(N))
        there = described(kind, copy.deepcopy(model).cuda(), x.cuda(), torch.zeros(N).cuda())
        assert there.device.type == "cuda"
        torch.testing.assert_close(there.cpu(), here, rtol=2e-2, atol=2e-2)
