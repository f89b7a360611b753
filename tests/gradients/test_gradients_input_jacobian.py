"""Singular values of what an input does to a clipped gradient: against whole Jacobians, with and without products."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn
from torch.func import functional_call, grad, jacrev, vmap

from ptaudit.errors import ModelError
from ptaudit.gradients import input_jacobian, input_products
from ptaudit.gradients.input_jacobian import Precision, pulled_back, singular_values
from ptaudit.gradients.record_losses import RecordLosses
from ptaudit.training.loss import cross_entropy, mse


def small():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(12, 9), nn.Tanh(), nn.Linear(9, 7), nn.Softplus(), nn.Linear(7, 3))


class Conv(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.conv, self.norm = nn.Conv2d(1, 3, 3, padding=1), nn.GroupNorm(1, 3)
        self.fc = nn.Linear(3 * 9, 4)

    def forward(self, x):
        return self.fc(torch.max_pool2d(torch.sigmoid(self.norm(self.conv(x))), 2).flatten(1))


def records(model, n, *shape, classes=3, loss=cross_entropy):
    generator = torch.Generator().manual_seed(1)
    x, y = torch.randn(n, *shape, generator=generator), torch.randint(classes, (n,), generator=generator)
    return RecordLosses(model, loss, x, y)


def whole_jacobians(losses, clip=None):
    """d clip(g) / dx of every record by reverse mode, in float64: `(n, p, d)`, and the places of each layer."""
    model = copy.deepcopy(losses.model).double().eval()
    weights = dict(model.named_parameters())

    def gradient(x, y):
        def lost(weights):
            return losses.loss(functional_call(model, weights, (x[None],)), y[None]).squeeze()

        found = torch.cat([g.flatten() for g in grad(lost)({k: v.detach() for k, v in weights.items()}).values()])
        return found if clip is None else found * (clip / found.norm()).clamp(max=1.0)

    y = losses.targets.double() if losses.targets.is_floating_point() else losses.targets
    jacobian = vmap(jacrev(gradient))(losses.inputs.double(), y).flatten(2).detach()
    places, start = {}, 0
    for path, p in weights.items():
        layer = path.rpartition(".")[0]
        first = places[layer].start if layer in places else start
        start += p.numel()
        places[layer] = slice(first, start)
    return jacobian, places


def truth(losses, layers, clip=None):
    """Squares of the largest singular value, and their sum, of all layers jointly and of each: `(1 + L, n)`."""
    jacobian, places = whole_jacobians(losses, clip)
    each = [jacobian[:, places[name]] for name in layers]
    sizes = [torch.linalg.svdvals(part).square() for part in (torch.cat(each, 1), *each)]
    return torch.stack([x[:, 0] for x in sizes]), torch.stack([x.sum(1) for x in sizes])


CASES = [(small, (12,), 3, ["0", "2", "4"]), (Conv, (1, 6, 6), 4, ["conv", "norm", "fc"])]


@pytest.mark.parametrize("clip", [None, 0.3])
@pytest.mark.parametrize(("make", "shape", "classes", "layers"), CASES)
def test_few_inputs_are_exact_whether_clipped_or_not(make, shape, classes, layers, clip):
    losses = records(make(), 10, *shape, classes=classes)
    found = singular_values(losses, layers, clip, Precision())
    largest, total = truth(losses, layers, clip)
    assert found.steps == found.columns == losses.inputs[0].numel()
    assert found.doubts == ("",) * 4
    torch.testing.assert_close(found.largest_sq, largest, rtol=1e-3, atol=1e-9)
    torch.testing.assert_close(found.sum_sq, total, rtol=1e-3, atol=1e-9)


def test_clipping_removes_what_the_norm_tells():
    """Some records are clipped and some are not; who sees some layers alone is told by the norm over all."""
    losses = records(small(), 12, 12)
    jacobian, _ = whole_jacobians(losses)
    norms = torch.stack(list(_norms(losses)))
    clip = float(norms.median()) * 1.0001
    assert 0 < int((norms > clip).sum()) < 12
    found = singular_values(losses, ["2"], clip, Precision())
    largest, total = truth(losses, ["2"], clip)
    torch.testing.assert_close(found.largest_sq, largest, rtol=1e-3, atol=1e-9)
    torch.testing.assert_close(found.sum_sq, total, rtol=1e-3, atol=1e-9)
    assert bool((total[0] < jacobian.square().sum((1, 2))).all())


def _norms(losses):
    for i in range(len(losses)):
        found = torch.autograd.grad(losses.some(slice(i, i + 1))().sum(), list(losses.model.parameters()))
        yield torch.cat([g.flatten() for g in found]).norm()


@pytest.mark.parametrize("clip", [None, 0.3])
@pytest.mark.parametrize(("make", "shape", "classes", "layers"), CASES)
def test_by_products_the_largest_is_found_and_the_sum_has_no_bias(make, shape, classes, layers, clip, monkeypatch):
    monkeypatch.setattr(input_jacobian, "EXACT", 0)
    losses = records(make(), 10, *shape, classes=classes)
    largest, total = truth(losses, layers, clip)
    found = singular_values(losses, layers, clip, Precision(steps=12, probes=100))
    assert found.steps == 12
    assert bool((found.largest_sq <= largest * (1 + 1e-4)).all())
    torch.testing.assert_close(found.largest_sq, largest, rtol=2e-2, atol=1e-9)
    # 100 probes of ten records: the mean over the records has an error of about two per cent.
    torch.testing.assert_close(found.sum_sq.mean(1), total.mean(1), rtol=0.08, atol=0.0)


def test_what_moves_a_gradient_is_pulled_back_through_each_layer():
    losses = records(small(), 7, 12)
    jacobian, places = whole_jacobians(losses)
    delta = torch.randn(7, jacobian.shape[1], generator=torch.Generator().manual_seed(3))
    found = pulled_back(losses, ["0", "4"], delta)
    each = [torch.einsum("npd,np->nd", jacobian[:, places[n]], delta[:, places[n]].double()) for n in ("0", "4")]
    truth = torch.stack([(each[0] + each[1]).norm(dim=1), *(x.norm(dim=1) for x in each)])
    torch.testing.assert_close(found, truth, rtol=1e-3, atol=1e-9)


def test_one_record_at_a_time_gives_the_same(monkeypatch):
    losses = records(small(), 5, 12)
    together = singular_values(losses, ["0", "4"], 0.3, Precision())
    monkeypatch.setattr(input_products, "agrees", lambda *_: False)
    alone = singular_values(losses, ["0", "4"], 0.3, Precision())
    torch.testing.assert_close(alone.largest_sq, together.largest_sq, rtol=1e-4, atol=1e-9)


def test_linear_regression_is_known_in_closed_form():
    """The gradient of (w x - y)^2 / 2 is (w x - y) x, whose Jacobian is x w^T + (w x - y) I."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(5, 1, bias=False), nn.Flatten(0))
    x, y = torch.randn(8, 5), torch.randn(8)
    losses = RecordLosses(model, lambda output, target: mse(output, target) / 2.0, x, y)
    found = singular_values(losses, ["0"], None, Precision())
    w = model[0].weight.detach()[0].double()
    assert losses()[0].item() == pytest.approx(float((w @ x[0].double() - y[0]) ** 2 / 2), rel=1e-5)
    for i in range(8):
        own = x[i].double()
        jacobian = torch.outer(own, w) + (own @ w - y[i].double()) * torch.eye(5, dtype=torch.float64)
        assert float(found.largest_sq[1, i]) == pytest.approx(float(torch.linalg.svdvals(jacobian)[0] ** 2), rel=1e-4)
        assert float(found.sum_sq[1, i]) == pytest.approx(float(jacobian.square().sum()), rel=1e-4)
    torch.testing.assert_close(found.sum_sq[0], found.sum_sq[1])


def test_a_layer_that_no_input_reaches_tells_nothing():
    class Side(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc, self.shift = nn.Linear(4, 2), nn.Linear(1, 2, bias=False)

        def forward(self, x):
            return self.fc(x).detach() * 0.0 + self.shift(torch.ones(len(x), 1))

    found = singular_values(records(Side(), 6, 4, classes=2), ["shift"], None, Precision())
    assert not found.largest_sq.any()
    assert not found.sum_sq.any()


class Hides(torch.autograd.Function):
    """A backward pass that forgets that it depends on the input."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x.detach().clone())
        return torch.tanh(x)

    @staticmethod
    def backward(ctx, seen):
        (x,) = ctx.saved_tensors
        return seen * (1.0 - torch.tanh(x).square())


class Hidden(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.first, self.last = nn.Linear(6, 5), nn.Linear(5, 3)

    def forward(self, x):
        return self.last(Hides.apply(self.first(x)))


def test_a_hidden_derivative_spoils_all_layers_where_the_norm_is_clipped():
    losses = records(Hidden(), 6, 6)
    bare = singular_values(losses, ["first", "last"], None, Precision())
    assert bare.doubts[1] == bare.doubts[0] != ""
    clipped = singular_values(losses, ["last"], 0.3, Precision())
    assert all(clipped.doubts)


def test_whole_numbers_have_no_jacobian():
    model = nn.Sequential(nn.Embedding(9, 4), nn.Flatten(), nn.Linear(12, 3))
    losses = RecordLosses(model, cross_entropy, torch.randint(9, (4, 3)), torch.randint(3, (4,)))
    with pytest.raises(ModelError, match="whole numbers"):
        singular_values(losses, ["2"], None, Precision())
