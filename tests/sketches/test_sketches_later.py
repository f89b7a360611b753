"""What the records of the check did not show: layers that later records reach, or use in another way."""

from __future__ import annotations

import pytest
import torch
from token_reference import cross_entropy, per_record_gradients, project, relative
from torch import nn

from ptaudit.gradients.layers import find_layers
from ptaudit.sketches.reader import TokenReader

N, EARLY = 90, 70
TARGETS = torch.arange(N) % 3


class Later(nn.Module):
    """Records with a positive first number take another branch; only some after the first 70 have one."""

    def __init__(self, branch):
        super().__init__()
        self.body, self.branch, self.head = nn.Linear(6, 5), branch, nn.Linear(5, 3)

    def forward(self, x):
        h = torch.tanh(self.body(x))
        late = x[:, 0] > 0
        if late.any():
            h = h + late[:, None] * self.branch(h)
        return self.head(h)


class Offset(nn.Module):
    """A parameter of its own, which no hook of a module sees."""

    def __init__(self):
        super().__init__()
        self.shift, self.turn = nn.Parameter(torch.randn(5)), nn.Parameter(torch.randn(5, 5))

    def forward(self, x):
        return torch.sin(x @ self.turn + self.shift)


class TwoUses(nn.Module):
    """A weight that late records use around its module, so that its hook does not see all."""

    def __init__(self):
        super().__init__()
        self.body, self.head = nn.Linear(6, 6), nn.Linear(6, 3)

    def forward(self, x):
        h = torch.tanh(self.body(x))
        late = x[:, 0] > 0
        return self.head(h + late[:, None] * (x @ self.body.weight.T.sin()))


def late_inputs(count=6):
    inputs = torch.randn(N, 6, generator=torch.Generator().manual_seed(1))
    inputs[:, 0] = -inputs[:, 0].abs()
    inputs[EARLY : EARLY + count, 0] *= -1
    return inputs


def assert_true(model, tokens, inputs):
    """Tokens and norms of every layer are those of one-record autograd."""
    grads = per_record_gradients(model, cross_entropy, inputs, TARGETS)
    layers = {layer.name: layer for layer in find_layers(model)}
    assert [info.name for info in tokens.layers] == list(layers)
    for row, (name, layer) in enumerate(layers.items()):
        own = {path: g for path, g in grads.items() if path.startswith(f"{name}.")}
        assert relative(tokens.values[row], project(layer, grads, 16, 0)) < 1e-4
        norm_sq = sum(g.flatten(1).square().sum(1) for g in own.values())
        assert relative(tokens.norm_sq[row], norm_sq) < 1e-4
    total = sum(g.flatten(1).square().sum(1) for g in grads.values())
    assert relative(tokens.total_norm_sq, total) < 1e-4


@pytest.mark.parametrize("late", [1, 6])
@pytest.mark.parametrize("chunk", [16, 256])
@pytest.mark.parametrize("branch", [lambda: nn.Linear(5, 5), Offset], ids=["with a rule", "without"])
def test_a_branch_that_later_records_take_is_checked_on_those(branch, chunk, late):
    torch.manual_seed(0)
    model, inputs = Later(branch()), late_inputs(late)
    reader = TokenReader(model, cross_entropy, dim=16)
    reader.prepare(inputs, TARGETS)
    assert [info.unused for info in reader.layers] == [False, True, False]
    tokens = reader.read(inputs, TARGETS, chunk=chunk)
    assert reader.layers[1].capture != "none"
    assert tokens.complete
    assert_true(model, tokens, inputs)
    assert not tokens.norm_sq[1, :EARLY].any()
    assert len(reader.gradients(inputs, TARGETS, chunk=chunk)) == 3


def test_what_no_record_reaches_stays_unused():
    model, inputs = Later(nn.Linear(5, 5)), late_inputs(0)
    reader = TokenReader(model, cross_entropy, dim=16)
    reader.prepare(inputs, TARGETS)
    tokens = reader.read(inputs, TARGETS)
    assert [info.name for info in tokens.layers] == ["body", "head"]
    assert reader.layers[1].unused
    assert tokens.complete


@pytest.mark.parametrize("chunk", [16, 256])
def test_a_weight_that_later_records_use_otherwise_is_read_one_record_at_a_time(chunk):
    torch.manual_seed(0)
    model, inputs = TwoUses(), late_inputs(1)
    reader = TokenReader(model, cross_entropy, dim=16)
    reader.prepare(inputs, TARGETS)
    assert [info.capture for info in reader.layers] == ["rule", "rule"]
    tokens = reader.read(inputs, TARGETS, chunk=chunk)
    assert [info.capture for info in reader.layers] == ["loop", "rule"]
    assert reader.layers[0].reason.startswith("on some records the rule differs from autograd by")
    assert_true(model, tokens, inputs)


class Subset(nn.Module):
    """Late records alone multiply by what all others add: expanded to one per record, its shape no longer fits."""

    def __init__(self, once):
        super().__init__()
        self.body, self.head, self.once = nn.Linear(6, 5), nn.Linear(5, 3), once
        self.offset = nn.Embedding(1, 5) if once else Offset()

    def forward(self, x):
        h = torch.tanh(self.body(x))
        added = self.offset(torch.zeros(1, dtype=torch.long)) if self.once else self.offset.shift
        late = x[:, 0] > 0
        if late.any():
            more = torch.zeros_like(h)
            more[late] = h[late] * added
            h = h + more
        return self.head(h + added)


@pytest.mark.parametrize("first", [False, True], ids=["later chunk", "first records of another read"])
@pytest.mark.parametrize("once", [False, True], ids=["parameter", "lookup"])
def test_what_late_records_do_not_take_once_per_record_is_read_one_record_at_a_time(once, first):
    torch.manual_seed(0)
    model, inputs = Subset(once), late_inputs(3)
    if not once:
        model.offset.turn.requires_grad_(False)
    reader = TokenReader(model, cross_entropy, dim=16)
    reader.prepare(inputs, TARGETS)
    name = "offset"
    before = {info.name: info for info in reader.layers}[name]
    assert before.capture == "rule"
    assert before.layout
    if first:
        inputs = inputs.roll(-EARLY, 0)
    tokens = reader.read(inputs, TARGETS, chunk=32)
    assert_true(model, tokens, inputs)
    reader.gradients(inputs, TARGETS, chunk=32)


def test_tokens_of_fewer_layers_are_brought_into_line():
    torch.manual_seed(0)
    model, inputs = Later(nn.Linear(5, 5)), late_inputs()
    reader = TokenReader(model, cross_entropy, dim=16)
    reader.prepare(inputs, TARGETS)
    early = reader.read(inputs[:EARLY], TARGETS[:EARLY])
    late = reader.read(inputs, TARGETS)
    assert (len(early.layers), len(late.layers)) == (2, 3)
    same = early.of(late.layers)
    assert torch.equal(same.values[[0, 2]], early.values)
    assert not same.values[1].any()
    assert not same.norm_sq[1].any()
    assert late.of(early.layers).values.shape == (2, N, 16)
    assert late.of(late.layers) is late


class Spectral(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(4, 3, dtype=torch.cfloat))

    def forward(self, x):
        return torch.fft.irfft2(torch.fft.rfft2(x) * self.weight, s=(4, 4))


class ComplexLayers(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.fc = (nn.Conv1d(2, 3, 2, dtype=torch.cfloat), nn.Linear(9, 5, dtype=torch.cfloat))
        self.phase, self.head = nn.Parameter(torch.randn((), dtype=torch.cfloat)), nn.Linear(5, 3)

    def forward(self, x):
        return self.head(self.fc(self.conv(x.to(torch.cfloat)).flatten(1) * self.phase).abs())


COMPLEX = {
    "spectral": (
        lambda: nn.Sequential(Spectral(), nn.Flatten(), nn.Tanh(), nn.Linear(16, 3)),
        (4, 4),
        {"0": "rule", "3": "rule"},
    ),
    "layers": (ComplexLayers, (2, 4), {"(root)": "rule", "conv": "vmap", "fc": "vmap", "head": "rule"}),
}


@pytest.mark.parametrize("name", COMPLEX)
def test_both_parts_of_complex_parameters_are_read(name):
    """The norm is that of the gradient with respect to real and imaginary parts, told by autograd on the real ones."""
    make, shape, captures = COMPLEX[name]
    torch.manual_seed(0)
    model, inputs, targets = make().eval(), torch.randn(8, *shape), torch.arange(8) % 3
    reader = TokenReader(model, cross_entropy, dim=16)
    reader.prepare(inputs, targets)
    assert {info.name: info.capture for info in reader.layers} == captures
    numbers = sum(p.numel() * (2 if p.is_complex() else 1) for p in model.parameters())
    assert sum(info.parameters for info in reader.layers) == numbers
    tokens = reader.read(inputs, targets)
    parameters = {n: p.detach() for n, p in model.named_parameters()}
    plain = {n: torch.view_as_real(p) if p.is_complex() else p for n, p in parameters.items()}

    def loss(real, i):
        whole = {n: torch.view_as_complex(x) if parameters[n].is_complex() else x for n, x in real.items()}
        return cross_entropy(torch.func.functional_call(model, whole, inputs[i : i + 1]), targets[i : i + 1]).sum()

    truth = [torch.func.grad(loss)(plain, i) for i in range(8)]
    total = torch.stack([sum(g.square().sum() for g in grads.values()) for grads in truth])
    odd = [name for name, p in parameters.items() if p.is_complex()]
    imaginary = torch.stack([sum(grads[name][..., 1].square().sum() for name in odd) for grads in truth])
    assert imaginary.sum() > 0.01 * total.sum()
    torch.testing.assert_close(tokens.total_norm_sq, total, rtol=1e-4, atol=1e-6)
    kept = [matrix for layer in reader.gradients(inputs, targets) for matrix in layer]
    one_each = torch.arange(8)[:, None]
    whole = sum(matrix.sums(one_each).flatten(1).square().sum(1) for matrix in kept)
    torch.testing.assert_close(whole, total, rtol=1e-4, atol=1e-6)
