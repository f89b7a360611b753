"""Capture inside a training loop: against one-record autograd, and without a trace in the training."""

from __future__ import annotations

import copy
import gc

import pytest
import torch
from test_gradients_rules import CONV, LINEAR, NORMS, PARTIAL, N, targets
from token_models import Checkpointed, Heads, InPlace, Readout, Switch, Tied, Twice, ZeroBranch
from token_reference import cross_entropy, per_record_gradients, project, relative
from torch import nn
from torch.nn import functional as F

from ptaudit.errors import ModelError
from ptaudit.gradients import hooks
from ptaudit.gradients.layers import find_layers
from ptaudit.gradients.projection import LayerSketch
from ptaudit.gradients.rules import rule_for
from ptaudit.gradients.rules.base import ModuleCall
from ptaudit.sketches.live import LiveReader, matrix_layers
from ptaudit.sketches.reader import TokenReader

DIM, SEED = 16, 3


class Encoder(nn.Module):
    """Attention, dropout, normalisation, embeddings: a small Transformer."""

    def __init__(self, dropout=0.2):
        super().__init__()
        layer = nn.TransformerEncoderLayer(8, 2, 12, dropout=dropout, batch_first=True)
        self.embed, self.body, self.head = nn.Embedding(9, 8), nn.TransformerEncoder(layer, 2), nn.Linear(8, 3)

    def forward(self, x):
        return self.head(self.body(self.embed(x)).mean(1))


class Pictures(nn.Module):
    """Convolutions, GroupNorm and dropout, with in-place operations."""

    def __init__(self):
        super().__init__()
        self.conv, self.norm = nn.Conv2d(2, 4, 3, padding=1), nn.GroupNorm(2, 4)
        self.deep, self.head = nn.Conv2d(4, 4, 3, stride=2, bias=False), nn.Linear(36, 3)
        self.drop = nn.Dropout(0.3)

    def forward(self, x):
        out = self.norm(self.conv(x))
        out += x.mean(1, keepdim=True)
        return self.head(self.drop(self.deep(out.relu_())).flatten(1))


def projected(layer, grads):
    """Tokens (n, dim) of explicit gradients, by the projections of a training run as dense matrices."""
    own = {name: grads[layer.path(name)] for name in layer.parameters}
    shapes = {name: p.shape for name, p in layer.parameters.items()}
    return LayerSketch(layer.name, shapes, DIM, SEED, separable=True)(own)


def read(model, inputs, targets, factor=None, loss=cross_entropy, **options):
    """One captured pass: the reader, its tokens, and the losses, still with their graph."""
    reader = LiveReader(model, DIM, SEED, **options)
    with reader.capture(len(targets), factor) as seen:
        losses = loss(model(inputs), targets)
        losses.mean().backward(retain_graph=True)
    return reader, seen.tokens, losses


def assert_true(model, tokens, losses, rtol=2e-4):
    """Every layer against autograd of single losses on the graph of the very pass, masks and all."""
    layers = {layer.name: layer for layer in find_layers(model)}
    named = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
    rows = [
        torch.autograd.grad(loss, [p for _, p in named], retain_graph=True, allow_unused=True, materialize_grads=True)
        for loss in losses
    ]
    grads = {name: torch.stack([row[k] for row in rows]).float() for k, (name, _) in enumerate(named)}
    for row, info in zip(tokens.values, tokens.layers, strict=True):
        reference = projected(layers[info.name], grads)
        assert reference.any(), f"{info.name} has no gradient: nothing was compared"
        assert relative(row, reference) < rtol, info


CASES = (
    {f"linear, {name}": (nn.Linear(7, 5, **options), (*middle, 7)) for name, (middle, options) in LINEAR.items()}
    | {f"conv, {name}": case for name, case in CONV.items()}
    | {name: case for name, case in NORMS.items() if not name.startswith("BatchNorm")}
    | {
        "wide": (nn.Conv2d(9, 6, 3, stride=2, padding=1), (9, 7, 6)),
        "wide, reflect": (nn.Conv2d(9, 6, (3, 2), padding=(1, 0), padding_mode="reflect"), (9, 5, 5)),
        "wide, same, 1d": (nn.Conv1d(9, 6, 4, padding="same", dilation=2, bias=False), (9, 9)),
        "wide, groups": (nn.Conv2d(12, 6, 3, groups=2), (12, 5, 5)),
        "wide, 3d": (nn.Conv3d(6, 6, 2), (6, 3, 4, 3)),
    }
)


@pytest.mark.parametrize("name", CASES)
def test_every_rule_in_a_training_pass(name):
    layer, shape = CASES[name]
    torch.manual_seed(0)
    model = nn.Sequential(layer, Readout())
    _, tokens, losses = read(model, torch.randn(N, *shape) + 1, targets())
    assert [info.name for info in tokens.layers] == ["0"]
    assert_true(model, tokens, losses)


@pytest.mark.parametrize("frozen", ["weight", "bias"])
@pytest.mark.parametrize("name", [name for name in PARTIAL if name != "BatchNorm2d"])
def test_half_frozen_layers(name, frozen):
    layer, shape = copy.deepcopy(PARTIAL[name])
    torch.manual_seed(0)
    getattr(layer, frozen).requires_grad_(False)
    model = nn.Sequential(layer, Readout())
    _, tokens, losses = read(model, torch.randn(N, *shape), targets())
    assert_true(model, tokens, losses)


@pytest.mark.parametrize("name", NORMS)
def test_moments_that_the_forward_pass_did_not_keep_are_computed(name):
    layer, shape = copy.deepcopy(NORMS[name])
    torch.manual_seed(0)
    layer.eval()
    inputs, grads = torch.randn(N, *shape) + 1, torch.randn(N, *shape)
    found = find_layers(layer)[0]
    sketch = LayerSketch("norm", {name: p.shape for name, p in found.parameters.items()}, DIM, SEED)
    rule = rule_for(layer)
    tokens = rule.tokens(found, [ModuleCall(inputs, grads)], N, sketch)
    assert relative(tokens, rule.contribution(found, [ModuleCall(inputs, grads)], N, sketch)[0]) < 1e-5


MODELS = {
    "dropout, in-place operations": (Pictures, lambda: torch.randn(N, 2, 7, 7)),
    "attention": (Encoder, lambda: torch.randint(0, 9, (N, 5))),
    "several uses": (Twice, lambda: torch.randn(N, 6)),
    "activation checkpoint": (Checkpointed, lambda: torch.randn(N, 6)),
    "frozen and idle layers": (Heads, lambda: torch.randn(N, 6)),
    "tied weights": (Tied, lambda: torch.randint(0, 7, (N, 4))),
    "BatchNorm": (InPlace, lambda: torch.randn(N, 2, 5, 5)),
}


@pytest.mark.parametrize("name", [name for name in MODELS if name not in ("BatchNorm", "frozen and idle layers")])
def test_whole_models_with_their_masks(name):
    build, inputs = MODELS[name]
    torch.manual_seed(0)
    model = build().train()
    reader, tokens, losses = read(model, inputs(), targets())
    assert all(info.capture == "rule" for info in reader.layers), reader.layers
    assert not tokens.mixed
    assert_true(model, tokens, losses)


@pytest.mark.parametrize("name", MODELS)
def test_the_training_is_untouched_bit_for_bit(name):
    build, inputs = MODELS[name]
    torch.manual_seed(0)
    model, x = build().train(), inputs()
    bare = copy.deepcopy(model)
    torch.manual_seed(1)
    output = bare(x)
    cross_entropy(output, targets()).mean().backward()
    torch.manual_seed(1)
    reader = LiveReader(model, DIM, SEED)
    with reader.capture(N):
        captured = model(x)
        cross_entropy(captured, targets()).mean().backward()
    assert torch.equal(output, captured)
    for one, other in zip(bare.parameters(), model.parameters(), strict=True):
        assert (one.grad is None) == (other.grad is None)
        assert one.grad is None or torch.equal(one.grad, other.grad)
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())
    assert not any(p._backward_hooks for p in model.parameters())


def test_hooks_are_gone_after_an_error():
    model = Pictures()
    reader = LiveReader(model, DIM)
    linear = F.linear
    with pytest.raises(ValueError, match="mine"), reader.capture(2) as seen:
        raise ValueError("mine")
    assert not any(m._forward_hooks for m in model.modules())
    assert F.linear is linear
    with pytest.raises(RuntimeError, match="after the block"):
        _ = seen.tokens


def test_loss_scale_micro_batches_and_what_was_accumulated_before():
    torch.manual_seed(0)
    model, x, y = Pictures().eval(), torch.randn(N, 2, 7, 7), targets()
    reference = read(copy.deepcopy(model), x, y)[1].values
    reader = LiveReader(model, DIM, SEED, check_every=1)
    parts = []
    for rows in (slice(0, 4), slice(4, N)):
        with reader.capture(len(y[rows]), factor=N / 1024) as seen:
            (1024 * cross_entropy(model(x[rows]), y[rows]).sum() / N).backward()
        parts.append(seen.tokens.values)
    assert all(info.capture == "rule" for info in reader.layers)  # the second pass adds to gradients that are there
    assert relative(torch.cat(parts, 1), reference) < 1e-5


def test_bfloat16_tokens_are_those_of_the_pass():
    torch.manual_seed(0)
    model, x, y = Encoder(dropout=0.0), torch.randint(0, 9, (N, 5)), targets()
    exact = read(model, x, y)[1].values
    reader = LiveReader(model, DIM, SEED)
    with reader.capture(N) as seen:
        with torch.autocast("cpu", torch.bfloat16):
            output = model(x)
        cross_entropy(output, y).mean().backward()
    assert all(info.capture == "rule" for info in reader.layers), reader.layers
    assert seen.tokens.values.dtype == torch.float32
    assert 0 < relative(seen.tokens.values, exact) < 0.1


def test_a_layer_that_does_not_add_up_is_dropped_with_the_reason():
    torch.manual_seed(0)
    model = nn.Sequential(ZeroBranch.Standardised(1, 4, 3, padding=1), nn.Conv2d(4, 4, 1), Readout())
    reader, tokens, losses = read(model, torch.randn(N, 1, 5, 5), targets())
    assert "do not add up" in reader.layers[0].reason
    assert [info.name for info in tokens.layers] == ["1"]
    assert_true(model, tokens, losses)


def test_a_wrong_layer_that_was_silent_at_first_is_found_later():
    torch.manual_seed(0)
    model = ZeroBranch()
    model.odd = ZeroBranch.Standardised(4, 4, 3, padding=1)
    reader = LiveReader(model, DIM, SEED, check_every=3)
    x, y, found = torch.randn(N, 1, 5, 5), targets(), []
    for _ in range(4):
        with reader.capture(N) as seen:
            cross_entropy(model(x), y).mean().backward()
        found.append("odd" in {info.name for info in seen.tokens.layers})
        nn.init.ones_(model.norm.weight)
    assert found == [True, True, True, False]


def test_batchnorm_in_training_adds_up_and_is_marked():
    torch.manual_seed(0)
    model, x, y = InPlace().train(), torch.randn(N, 2, 5, 5), targets()
    _, tokens, _ = read(model, x, y)
    assert tokens.mixed
    assert {info.name for info in tokens.layers} == {"conv1", "bn1", "conv2", "fc", "head"}
    for row, layer in zip(tokens.values, find_layers(model), strict=True):
        whole = {f"{layer.name}.{name}": N * p.grad[None] for name, p in layer.parameters.items()}
        assert relative(row.sum(0), projected(layer, whole)[0]) < 1e-4
    _, tokens, losses = read(model.eval(), x, y)
    assert not tokens.mixed
    assert_true(model, tokens, losses)


def test_a_branch_that_was_not_taken_gives_zeros():
    torch.manual_seed(0)
    model = Switch()
    reader, tokens, _ = read(model, torch.randn(N, 6), targets())
    assert [info.name for info in tokens.layers] == ["body", "rare"]
    assert tokens.values[0].any()
    assert not tokens.values[1].any()
    with reader.capture(N) as seen:
        cross_entropy(model(torch.full((N, 6), 60.0) * torch.randn(N, 6)), targets()).mean().backward()
    assert seen.tokens.values[1].any()


def test_what_was_checked_decides_where_the_records_are():
    class TimeFirst(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc, self.lstm, self.out = nn.Linear(4, 4), nn.LSTM(4, 3), Readout()

        def forward(self, x):
            return self.out(self.lstm(self.fc(x.transpose(0, 1)).tanh())[0].transpose(0, 1))

    torch.manual_seed(0)
    model, x, y = TimeFirst(), torch.randn(N, N, 4), targets()
    slow = TokenReader(model, cross_entropy, DIM, SEED)
    slow.prepare(x, y)
    reader, tokens, losses = read(model.train(), x, y, checked=slow.layers)
    assert [info.name for info in tokens.layers] == ["fc"]
    assert_true(model, tokens, losses)
    assert "too slow" in reader.layers[1].reason


def test_matrix_layers_and_patterns():
    model = Pictures()
    assert matrix_layers(model) == ("conv", "deep", "head")
    reader = LiveReader(model, DIM, layers=matrix_layers(model))
    assert [info.name for info in reader.layers] == ["conv", "deep", "head"]
    with pytest.raises(ModelError, match="nearest layers: conv"):
        LiveReader(model, DIM, layers=["convv"])


def test_the_per_example_pass_and_the_run_agree_in_eval_mode():
    torch.manual_seed(0)
    model, x, y = Encoder().eval(), torch.randint(0, 9, (N, 5)), targets()
    slow = TokenReader(model, cross_entropy, DIM, SEED)
    slow.prepare(x, y)
    _, tokens, _ = read(model, x, y, checked=slow.layers)
    assert relative(tokens.values, slow.read(x, y).values) < 1e-5
    grads = per_record_gradients(model, cross_entropy, x, y)
    assert relative(tokens.values[0], project(find_layers(model)[0], grads, DIM, SEED)) < 2e-4


def test_no_gradient_is_kept_while_the_graph_lives():
    """Hooks live as long as the graph; if they kept what they saw, a captured step would need far more memory."""
    torch.manual_seed(0)
    model, x, y = Pictures(), torch.randn(N, 2, 7, 7), targets()
    _, tokens, losses = read(model, x, y)
    calls = [thing for thing in gc.get_objects() if isinstance(thing, hooks._Awaited)]
    assert losses.grad_fn is not None
    assert len(calls) >= 4
    assert all(call.grad is None and call.call_of is hooks._over for call in calls)
    assert_true(model, tokens, losses)
