"""The face of the room: independence, choice of layers, errors, and that a model is left as found."""

import pytest
import token_models as models
import torch
from token_reference import cross_entropy
from torch import nn

from ptaudit.errors import ModelError
from ptaudit.gradients.layers import find_layers
from ptaudit.sketches.reader import TokenReader

N = 10
TARGETS = torch.arange(N) % 3


def make_reader(model, inputs, **options):
    reader = TokenReader(model, cross_entropy, **{"dim": 16, **options})
    reader.prepare(inputs, TARGETS)
    return reader


def close(a, b):
    torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("make", [models.InPlace, models.Twice, models.Custom, models.Recurrent])
def test_tokens_do_not_depend_on_the_chunk(make):
    torch.manual_seed(0)
    shape = {models.InPlace: (2, 4, 4), models.Twice: (6,), models.Custom: (4, 6), models.Recurrent: (4, 5)}[make]
    inputs = torch.randn(N, *shape)
    reader = make_reader(make(), inputs)
    whole = reader.read(inputs, TARGETS)
    for chunk in (1, 3, 7):
        parts = reader.read(inputs, TARGETS, chunk=chunk)
        for field in ("values", "norm_sq", "total_norm_sq", "loss"):
            close(getattr(parts, field), getattr(whole, field))
    order = torch.randperm(N)
    close(reader.read(inputs[order], TARGETS[order]).values, whole.values[:, order])


def test_the_batch_gradient_is_the_sum_of_tokens_under_any_reduction():
    """Tokens add up to the sketch of the summed loss's gradient, and their mean to that of the mean loss."""
    torch.manual_seed(0)
    model, inputs = models.Twice().eval(), torch.randn(N, 6)
    reader = make_reader(model, inputs)
    values = reader.read(inputs, TARGETS).values
    for reduction, aggregate in (("sum", values.sum(1)), ("mean", values.mean(1))):
        loss = nn.CrossEntropyLoss(reduction=reduction)(model(inputs), TARGETS)
        for row, layer in enumerate(find_layers(model)):
            names = list(layer.parameters)
            grads = torch.autograd.grad(loss, list(layer.parameters.values()), retain_graph=True)
            batch = {name: g.unsqueeze(0) for name, g in zip(names, grads)}
            close(reader._sketches[layer.name](batch)[0], aggregate[row])


def test_layer_patterns_restrict_tokens_but_not_the_total_norm():
    torch.manual_seed(0)
    model, inputs = models.Custom(), torch.randn(N, 4, 6)
    everything = make_reader(model, inputs).read(inputs, TARGETS)
    reader = make_reader(model, inputs, layers=["fc"])
    chosen = reader.read(inputs, TARGETS)
    assert [info.name for info in chosen.layers] == ["fc"]
    assert [info.name for info in reader.layers] == ["(root)", "fc"]
    close(chosen.values, everything.values[1:])
    close(chosen.norm_sq, everything.norm_sq[1:])
    close(chosen.total_norm_sq, everything.total_norm_sq)
    close(chosen.total_norm_sq, everything.norm_sq.sum(0))
    assert chosen.complete


def test_a_layers_tokens_do_not_depend_on_the_other_layers():
    torch.manual_seed(0)
    model, inputs = models.Twice(), torch.randn(N, 6)
    before = make_reader(model, inputs).read(inputs, TARGETS)
    model.stem.requires_grad_(False)
    after = make_reader(model, inputs).read(inputs, TARGETS)
    assert [info.name for info in after.layers] == ["shared", "head"]
    close(after.values, before.values[1:])


def test_layers_are_listed_in_model_order_after_prepare():
    torch.manual_seed(0)
    reader = TokenReader(models.Heads(), cross_entropy, dim=16)
    with pytest.raises(RuntimeError, match="prepare"):
        _ = reader.layers
    reader.prepare(torch.randn(N, 6), TARGETS)
    assert [(i.index, i.name, i.type, i.parameters) for i in reader.layers] == [
        (0, "body", "Linear", 24),
        (1, "head", "Linear", 15),
        (2, "idle", "Linear", 10),
        (3, "aside", "Linear", 10),
    ]
    assert reader.read(torch.randn(N, 6), TARGETS).complete  # what gets no gradient is not missing


def snapshot(model):
    return {
        "state": {name: value.clone() for name, value in model.state_dict().items()},
        "grad": {name: None if p.grad is None else p.grad.clone() for name, p in model.named_parameters()},
        "objects": {name: id(value) for name, value in [*model.named_parameters(), *model.named_buffers()]},
        "flags": {name: p.requires_grad for name, p in model.named_parameters()},
        "training": {name: module.training for name, module in model.named_modules()},
        "hooks": {name: (len(m._forward_hooks), len(m._backward_hooks)) for name, m in model.named_modules()},
        "random": torch.get_rng_state(),
        "fast path": torch.backends.mha.get_fastpath_enabled(),
        "grad mode": torch.is_grad_enabled(),
    }


def assert_same(a, b):
    assert a.keys() == b.keys()
    for key, value in a.items():
        if isinstance(value, dict):
            assert_same(value, b[key])
        elif isinstance(value, torch.Tensor):
            assert torch.equal(value, b[key]), key
        else:
            assert value == b[key], key


class Counter(nn.Module):
    """A buffer that moves at each forward pass, also in evaluation mode, and a random draw."""

    def __init__(self):
        super().__init__()
        self.fc, self.drop = nn.Linear(6, 3), nn.Dropout()
        self.register_buffer("calls", torch.zeros(()))

    def forward(self, x):
        self.calls = self.calls + 1
        torch.rand(1)
        return self.fc(self.drop(x))


LEFT_AS_FOUND = {
    "in-place and BatchNorm": (models.InPlace, (2, 4, 4)),
    "unused and frozen": (models.Heads, (6,)),
    "expanded parameters": (models.Custom, (4, 6)),
    "fallback": (models.Recurrent, (4, 5)),
    "zero gradients": (models.ZeroBranch, (1, 4, 4)),
    "moving buffer": (Counter, (6,)),
}


@pytest.mark.parametrize("name", LEFT_AS_FOUND)
def test_model_is_left_as_found(name):
    make, shape = LEFT_AS_FOUND[name]
    torch.manual_seed(0)
    model, inputs = make().train(), torch.randn(N, *shape)
    next(model.children()).eval()  # flags differ from module to module
    cross_entropy(model(inputs), TARGETS).sum().backward()
    next(model.modules()).register_forward_hook(lambda *_: None)
    before = snapshot(model)
    with torch.no_grad():  # observers may be called without gradients
        reader = make_reader(model, inputs)
        assert reader.read(inputs, TARGETS, chunk=4).norm_sq.any()
        torch.set_grad_enabled(True)
    assert_same(before, snapshot(model))


@pytest.mark.parametrize("moment", ["forward", "loss", "backward"])
def test_model_is_left_as_found_after_an_exception(moment):
    torch.manual_seed(0)
    model, inputs = models.InPlace().train(), torch.randn(N, 2, 4, 4)
    broken = False

    def loss(output, target):
        if broken and moment == "loss":
            raise KeyError("boom")
        if broken and moment == "backward":
            output = output * 1
            output.register_hook(lambda g: 1 / 0)
        return cross_entropy(output, target)

    def forward(*_):
        if broken and moment == "forward":
            raise KeyError("boom")

    model.head.register_forward_hook(forward)
    reader = TokenReader(model, loss, dim=16)
    reader.prepare(inputs, TARGETS)
    before, broken = snapshot(model), True
    with pytest.raises((KeyError, ZeroDivisionError)):
        reader.read(inputs, TARGETS)
    assert_same(before, snapshot(model))


def test_tokens_follow_the_weights():
    torch.manual_seed(0)
    model, inputs = models.Twice(), torch.randn(N, 6)
    reader = make_reader(model, inputs)
    before = reader.read(inputs, TARGETS)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    after = reader.read(inputs, TARGETS)
    fresh = make_reader(model, inputs).read(inputs, TARGETS)
    close(after.values, fresh.values)
    assert not torch.allclose(after.values, before.values, rtol=0.01)


class Gated(nn.Module):
    """A second use of a weight behind a gate that is closed at first."""

    def __init__(self):
        super().__init__()
        self.fc, self.head = nn.Linear(6, 6), nn.Linear(6, 3)
        self.register_buffer("gate", torch.zeros(()))

    def forward(self, x):
        return self.head(torch.tanh(self.fc(x)) + self.gate * (x @ self.fc.weight.T))


def test_a_use_that_comes_alive_during_training_is_noticed():
    torch.manual_seed(0)
    model, inputs = Gated(), torch.randn(N, 6)
    reader = make_reader(model, inputs)
    reader.read(inputs, TARGETS)
    assert [info.capture for info in reader.layers] == ["rule", "rule"]
    model.gate.fill_(0.2)
    tokens = reader.read(inputs, TARGETS)
    assert [info.capture for info in reader.layers] == ["vmap", "rule"]
    close(tokens.values, make_reader(model, inputs).read(inputs, TARGETS).values)


def test_gradients_that_are_not_finite():
    torch.manual_seed(0)
    model, inputs = models.Twice(), torch.randn(N, 6)
    reader = make_reader(model, inputs)
    nn.init.constant_(model.head.bias, float("nan"))
    assert reader.read(inputs, TARGETS).values.isnan().any()  # for the caller to see; the layers stay as they were
    assert {info.capture for info in reader.layers} == {"rule"}
    assert {info.reason for info in make_reader(model, inputs).layers} == {
        "gradients of the first records are not finite"
    }


class TestErrors:
    def test_no_trainable_parameters(self):
        with pytest.raises(ModelError, match="no trainable parameters"):
            TokenReader(nn.Linear(3, 3).requires_grad_(False), cross_entropy)

    def test_pattern_without_a_match_names_the_nearest(self):
        with pytest.raises(ModelError, match=r"'shard'.*nearest layers: shared"):
            TokenReader(models.Twice(), cross_entropy, layers=["head", "shard"])

    def test_reduced_loss(self):
        reader = TokenReader(models.Twice(), nn.CrossEntropyLoss())
        with pytest.raises(ModelError, match=r"returned shape \(\) for 10 records"):
            reader.prepare(torch.randn(N, 6), TARGETS)

    def test_inputs_that_do_not_fit(self):
        reader = TokenReader(models.Twice(), cross_entropy)
        with pytest.raises(ModelError, match=r"Twice: the model cannot be run .* 10 records"):
            reader.prepare(torch.randn(N, 7), TARGETS)

    def test_one_record(self):
        reader = TokenReader(models.Twice(), cross_entropy)
        with pytest.raises(ModelError, match="at least two records"):
            reader.prepare(torch.randn(1, 6), TARGETS[:1])

    def test_layers_unfrozen_after_prepare(self):
        model, inputs = models.Heads(), torch.randn(N, 6)
        reader = make_reader(model, inputs)
        model.frozen.requires_grad_(True)
        with pytest.raises(ModelError, match="not those that the reader was made for"):
            reader.read(inputs, TARGETS)


@pytest.mark.gpu
def test_cuda_agrees_with_cpu():
    if not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")
    for make, shape in ((models.InPlace, (2, 4, 4)), (models.Recurrent, (4, 5))):
        torch.manual_seed(0)
        model, inputs = make(), torch.randn(N, *shape)
        cpu = make_reader(model, inputs).read(inputs, TARGETS)
        cuda = make_reader(model.cuda(), inputs).read(inputs, TARGETS)
        torch.testing.assert_close(cuda.values.cpu(), cpu.values, rtol=1e-2, atol=1e-3)


def test_a_reader_of_some_layers_reads_what_the_whole_one_does():
    """Norms that clipping needs are over all layers all the same; the first reader is as it was."""
    torch.manual_seed(0)
    inputs = torch.randn(N, 2, 4, 4)
    reader = make_reader(models.InPlace(), inputs)
    whole = reader.read(inputs, TARGETS)
    name = whole.layers[-1].name
    some = reader.only([name]).read(inputs, TARGETS)
    assert [layer.name for layer in some.layers] == [name]
    close(some.values[0], whole.values[-1])
    close(some.total_norm_sq, whole.total_norm_sq)
    assert some.complete
    assert reader.read(inputs, TARGETS).layers == whole.layers
