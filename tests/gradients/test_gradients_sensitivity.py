"""Norms of Jacobians: against the exact Jacobian, zero where nothing moves, scaling laws, and what has none."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn
from torch.func import functional_call, jacrev, vmap
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.functional import one_hot

from ptaudit.errors import ModelError
from ptaudit.gradients import sensitivity
from ptaudit.gradients.record_losses import RecordLosses
from ptaudit.gradients.sensitivity import jacobian_norms
from ptaudit.training.loss import bce, cross_entropy, mse


class Conv(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.norm = nn.Conv2d(1, 3, 3, padding=1), nn.GroupNorm(1, 3)
        self.drop, self.fc = nn.Dropout(0.5), nn.Linear(3 * 9, 4)

    def forward(self, x):
        x = torch.max_pool2d(torch.relu(self.norm(self.conv(x))), 2)
        return self.fc(self.drop(x.flatten(1)))


def small(seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(6, 5), nn.Tanh(), nn.Linear(5, 3))


def records(n, *shape, classes=3, seed=1):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(n, *shape, generator=generator), torch.randint(classes, (n,), generator=generator)


def exact(model, loss, layer, x, y, of="input", columns=slice(None)):
    """Mean over records of ||J||_F^2 / (p d), by reverse-mode Jacobians of the gradient, in float64."""
    model, x = copy.deepcopy(model).double().eval(), x.double()
    own = {name: p for name, p in model.named_parameters() if name.startswith(f"{layer}.")}

    def gradient(moving, x, y):
        x, y = (moving, y) if of == "input" else (x, moving)

        def lost(weights):
            return loss(functional_call(model, weights, (x[None],)), y[None]).squeeze()

        return torch.cat([g.flatten() for g in torch.func.grad(lost)(own).values()])

    with sdpa_kernel(SDPBackend.MATH):
        jacobian = vmap(jacrev(gradient))(x if of == "input" else y, x, y)
    jacobian = jacobian.flatten(2)[:, :, columns].detach()
    return float(jacobian.square().mean((1, 2)).mean())


def norms_of(model, loss, layers, x, y, private="input", **options):
    return jacobian_norms(RecordLosses(model, loss, x, y), layers, private, **options)


@pytest.mark.parametrize(("make", "shape", "classes"), [(small, (6,), 3), (Conv, (1, 6, 6), 4)])
def test_probes_agree_with_the_exact_jacobian_within_their_standard_error(make, shape, classes):
    torch.manual_seed(0)
    model, (x, y) = make(), records(24, *shape, classes=classes)
    layers = [name for name, module in model.named_modules() if list(module.parameters(recurse=False))]
    probes = 2 if shape == (6,) else 8  # fewer than half the inputs: none of the norms is exact
    found = norms_of(model, cross_entropy, layers, x, y, probes=probes)
    assert not found.exact
    assert bool((found.probe_error > 0).all())
    for i, layer in enumerate(layers):
        truth = exact(model, cross_entropy, layer, x, y)
        assert abs(float(found.per_record[i].mean()) - truth) < 4 * float(found.probe_error[i]), layer
        assert float(found.probe_error[i]) < 0.2 * truth


def test_the_standard_error_is_that_of_repeated_probes():
    model, (x, y) = small(), records(10, 6)
    runs = [norms_of(model, cross_entropy, ["0", "2"], x, y, probes=2, seed=seed) for seed in range(120)]
    spread = torch.stack([run.per_record.mean(1) for run in runs]).std(0)
    told = torch.stack([run.probe_error.square() for run in runs]).mean(0).sqrt()
    assert torch.allclose(told, spread, rtol=0.25)


@pytest.mark.parametrize("columns", [None, slice(2, 4)])
def test_few_columns_are_exact(columns):
    model, (x, y) = small(), records(12, 6)
    found = norms_of(model, cross_entropy, ["0", "2"], x, y, columns or "input", probes=3)
    assert found.exact
    assert found.columns == (2 if columns else 6)
    assert not found.probe_error.any()
    for i, layer in enumerate(("0", "2")):
        truth = exact(model, cross_entropy, layer, x, y, columns=columns or slice(None))
        assert float(found.per_record[i].mean()) == pytest.approx(truth, rel=1e-4)


@pytest.mark.parametrize(
    ("loss", "targets", "soft"),
    [
        (cross_entropy, lambda y: y, lambda y: one_hot(y, 3).double()),
        (mse, lambda y: torch.randn(len(y), 3, generator=torch.Generator().manual_seed(3)), lambda y: y.double()),
    ],
)
def test_norms_by_the_target(loss, targets, soft):
    model, (x, y) = small(), records(12, 6)
    y = targets(y)
    found = norms_of(model, loss, ["0", "2"], x, y, "target", probes=2)
    assert found.exact
    assert found.columns == 3
    for i, layer in enumerate(("0", "2")):
        truth = exact(model, loss, layer, x, soft(y), of="target")
        assert float(found.per_record[i].mean()) == pytest.approx(truth, rel=1e-4)


def test_binary_labels_are_numbers_to_bce():
    torch.manual_seed(0)
    model, (x, y) = nn.Sequential(nn.Linear(6, 1), nn.Flatten(0)), records(9, 6, classes=2)
    found = norms_of(model, bce, ["0"], x, y, "target")
    # The gradient is (sigmoid - y) (x, 1): its derivative by y is -(x, 1).
    assert found.columns == 1
    assert torch.allclose(found.per_record[0], (x.double().square().sum(1) + 1) / 7, rtol=1e-4)


def test_a_loss_that_takes_no_soft_target_has_no_sensitivity_to_the_label():
    def hinge(output, target):
        return (1 + output - output.gather(1, target[:, None])).relu().sum(1)

    model, (x, y) = small(), records(9, 6)
    with pytest.raises(ModelError, match="no soft target"):
        norms_of(model, hinge, ["0"], x, y, "target")
    assert bool((norms_of(model, hinge, ["0"], x, y).per_record > 0).all())


class Dull(nn.Module):
    """Adds a bias to constant scores: its gradient is the same whatever the input."""

    def __init__(self):
        super().__init__()
        self.fc, self.shift = nn.Linear(6, 3), nn.Linear(1, 3)

    def forward(self, x):
        return self.fc(x) + self.shift(torch.ones(len(x), 1))


def test_a_layer_that_does_not_depend_on_the_input_has_none():
    def linear_loss(output, target):
        return output.gather(1, target[:, None]).squeeze(1)

    found = norms_of(Dull(), linear_loss, ["fc", "shift"], *records(12, 6))
    assert found.doubts == ("", "")
    assert not found.squares[1].any()
    # fc: the gradient of row y is (x, 1), so J holds 6 ones among 21 x 6 entries.
    assert torch.allclose(found.per_record[0], torch.full((12,), 6 / 126, dtype=torch.float64))


def test_scaling_laws():
    model, (x, y) = small(), records(8, 6)
    options = {"probes": 3}
    plain = norms_of(model, cross_entropy, ["0", "2"], x, y, **options).squares
    louder = norms_of(model, lambda o, t: 3 * cross_entropy(o, t), ["0", "2"], x, y, **options).squares
    assert torch.allclose(louder, 9 * plain, rtol=1e-4)
    # Inputs in units of a tenth, weights ten times smaller: g of that layer is ten times larger, so is its input.
    other = copy.deepcopy(model)
    with torch.no_grad():
        other[0].weight /= 10
        other[0].bias.requires_grad_(False)
        model[0].bias.requires_grad_(False)
    one = norms_of(model, cross_entropy, ["0", "2"], x, y, **options).squares
    ten = norms_of(other, cross_entropy, ["0", "2"], 10 * x, y, **options).squares
    assert torch.allclose(ten[0], one[0], rtol=1e-3)
    assert torch.allclose(ten[1], one[1] / 100, rtol=1e-3)


def test_each_record_has_the_same_norm_in_any_batch(monkeypatch):
    model, (x, y) = small(), records(9, 6)
    whole = norms_of(model, cross_entropy, ["0", "2"], x, y, probes=3).squares
    monkeypatch.setattr(sensitivity, "_AT_ONCE", 2)
    assert torch.allclose(norms_of(model, cross_entropy, ["0", "2"], x, y, probes=3).squares, whole, rtol=1e-4)


class Stubborn(nn.Module):
    """What `vmap` refuses: a decision that depends on the data."""

    def __init__(self):
        super().__init__()
        self.fc, self.calls = nn.Linear(6, 3), []

    def forward(self, x):
        self.calls.append(len(x))
        return self.fc(x * 2 if float(x.sum()) > 0 else x.tanh())


def test_one_record_at_a_time_where_they_cannot_go_side_by_side():
    torch.manual_seed(0)
    model, (x, y) = Stubborn(), records(6, 6)
    found = norms_of(model, cross_entropy, ["fc"], x, y, probes=3)
    assert set(model.calls[-6:]) == {1}
    each = [exact_stubborn(model, x[i : i + 1], y[i : i + 1]) for i in range(6)]
    assert found.per_record[0].tolist() == pytest.approx(each, rel=1e-4)


def exact_stubborn(model, x, y):
    plain = nn.Sequential(nn.Identity() if float(x.sum()) > 0 else nn.Tanh(), nn.Linear(6, 3))
    plain[1].load_state_dict(model.fc.state_dict())
    if float(x.sum()) > 0:  # the chain rule: x enters twice as large, and moves twice as fast
        return 4 * exact(plain, cross_entropy, "1", 2 * x, y)
    return exact(plain, cross_entropy, "1", x, y)


class Once(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x.square()

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, grad):
        return 2 * ctx.saved_tensors[0] * grad


class Detached(Once):
    @staticmethod
    def backward(ctx, grad):
        return (2 * ctx.saved_tensors[0] * grad).detach()


class Custom(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.fc, self.function = nn.Linear(6, 3), function

    def forward(self, x):
        return self.function.apply(self.fc(x))


def linear_loss(output, target):
    return output.gather(1, target[:, None]).squeeze(1)


@pytest.mark.parametrize("function", [Once, Detached])
@pytest.mark.parametrize("loss", [cross_entropy, linear_loss])
def test_a_hidden_second_derivative_is_found_out(function, loss):
    # autograd raises in none of these, and gives numbers that are wrong.
    found = norms_of(Custom(function), loss, ["fc"], *records(6, 6))
    assert found.doubts == (sensitivity.HIDDEN,)


class Fused(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(6, 3)

    def forward(self, x):
        q = self.fc(x).view(len(x), 1, 1, 3)
        return torch.ops.aten._scaled_dot_product_flash_attention_for_cpu(q, q * 2, q * 3)[0].flatten(1)


def test_an_operation_without_a_second_derivative_is_named():
    with pytest.raises(ModelError, match=r"no second derivative: .*flash_attention.* is not implemented"):
        norms_of(Fused(), cross_entropy, ["fc"], *records(6, 6))


def test_records_on_a_kink_raise_no_doubt():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(1, 3, 3, padding=1, bias=True), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten())
    model.append(nn.Linear(27, 3))
    nn.init.zeros_(model[0].bias)
    x, y = records(6, 1, 6, 6)
    x[:, :, 2:] = 0  # a background, where every activation is exactly 0
    assert norms_of(model, cross_entropy, ["0", "4"], x, y).doubts == ("", "")


def test_token_ids_cannot_be_differentiated_by_but_their_labels_can():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Embedding(10, 4), nn.Flatten(), nn.Linear(12, 3))
    ids, y = torch.randint(10, (8, 3)), torch.randint(3, (8,))
    with pytest.raises(ModelError, match="whole numbers"):
        norms_of(model, cross_entropy, ["0", "2"], ids, y)
    assert bool((norms_of(model, cross_entropy, ["0", "2"], ids, y, "target").per_record > 0).all())


def test_attention_and_several_inputs():
    class Attends(nn.Module):
        def __init__(self):
            super().__init__()
            self.block = nn.TransformerEncoderLayer(4, 2, 8, batch_first=True)
            self.fc = nn.Linear(12, 3)

        def forward(self, x, padding):
            return self.fc(self.block(x, src_key_padding_mask=padding).flatten(1))

    torch.manual_seed(0)
    model, (x, y) = Attends(), records(6, 3, 4)
    layers = ["block.self_attn", "block.linear1", "fc"]
    padding = torch.zeros(6, 3, dtype=torch.bool)
    found = norms_of(model, cross_entropy, layers, {"x": x, "padding": padding}, y)
    assert found.exact
    assert found.columns == 12
    assert found.doubts == ("", "", "")

    def alone(output, target):
        return cross_entropy(output, target)

    class Whole(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = model

        def forward(self, x):
            return self.inner(x, None)

    for i, layer in enumerate(layers):
        truth = exact(Whole(), alone, f"inner.{layer}", x, y)
        if layer != "block.self_attn":  # its child out_proj is a layer of its own
            assert float(found.per_record[i].mean()) == pytest.approx(truth, rel=1e-3)


def test_the_model_is_left_as_found():
    torch.manual_seed(0)
    model, (x, y) = Conv().train(), records(6, 1, 6, 6, classes=4)
    model.conv.weight.grad = torch.ones_like(model.conv.weight)
    before, random = copy.deepcopy(model.state_dict()), torch.random.get_rng_state()
    norms_of(model, cross_entropy, ["conv", "fc"], x, y)
    assert model.training
    assert model.drop.training
    assert bool((model.conv.weight.grad == 1).all())
    assert model.fc.weight.grad is None
    assert all(torch.equal(value, model.state_dict()[name]) for name, value in before.items())
    assert torch.equal(torch.random.get_rng_state(), random)
