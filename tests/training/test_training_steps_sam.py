"""Sharpness-aware minimisation against the papers' formulas written out."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from ptaudit.training.steps import Batch

SGD = {"name": "sgd", "lr": 0.1}


def smooth_net() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 16), nn.Tanh(), nn.Linear(16, 3))


def normed_net() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 16), nn.BatchNorm1d(16), nn.Tanh(), nn.Linear(16, 3))


def flat(model: nn.Module) -> torch.Tensor:
    return torch.cat([value.detach().flatten() for value in model.parameters()])


def loss_at(weights: torch.Tensor, inputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    w1, b1, w2, b2 = weights.split([64, 16, 48, 3])
    hidden = torch.tanh(inputs @ w1.reshape(16, 4).T + b1)
    return F.cross_entropy(hidden @ w2.reshape(3, 16).T + b2, targets)


@pytest.mark.parametrize("precision", ["float32", "fp16"])
@pytest.mark.parametrize(("rho", "adaptive"), [(0.05, False), (0.5, False), (0.5, True), (2.0, True)])
def test_one_step_is_that_of_the_paper(replay, blobs, rho, adaptive, precision):
    sam = {"rho": rho, "adaptive": adaptive}
    run = replay(model=smooth_net(), batch_size=60, epochs=1, optimizer=SGD, sam=sam, precision=precision)
    inputs, targets = blobs.batch(torch.from_numpy(run.split.members))
    w = flat(run.model).requires_grad_()
    (g,) = torch.autograd.grad(loss_at(w, inputs, targets), w)
    size = w.detach().abs() + 0.01 if adaptive else torch.ones_like(g)
    e = rho * size**2 * g / (size * g).norm()
    beside = (w.detach() + e).requires_grad_()
    (followed,) = torch.autograd.grad(loss_at(beside, inputs, targets), beside)
    run.run((), ())
    moved = (w.detach() - flat(run.model)) / 0.1
    close = {"rtol": 1e-3, "atol": 1e-5} if precision == "float32" else {"rtol": 2e-2, "atol": 2e-3}
    torch.testing.assert_close(moved, followed, **close)
    assert (followed - g).norm() > 5 * (moved - followed).norm()  # the second pass is what makes the step


def test_a_tiny_neighbourhood_is_plain_training(replay):
    plain, sam = replay(model=smooth_net()), replay(model=smooth_net(), sam={"rho": 1e-7})
    plain.run((), ())
    sam.run((), ())
    torch.testing.assert_close(flat(plain.model), flat(sam.model), rtol=1e-4, atol=1e-5)


def test_losses_are_those_at_the_weights_themselves(replay):
    plain = replay(model=smooth_net(), batch_size=60, epochs=1, optimizer=SGD)
    sam = replay(model=smooth_net(), batch_size=60, epochs=1, optimizer=SGD, sam={"rho": 1.0})
    index = plain.split.members
    (one,), (other,) = (run.step(Batch(index, *run.records.batch(torch.from_numpy(index))), 1) for run in (plain, sam))
    assert torch.equal(one, other)
    assert not torch.equal(flat(plain.model), flat(sam.model))


@pytest.mark.parametrize("momentum", [0.1, None])
def test_statistics_of_batch_norm_see_the_first_pass_only(replay, momentum):
    """One step: the first pass is the same with and without SAM, and so are the statistics after it."""
    found = []
    for settings in ({}, {"sam": {"rho": 1.0}}):
        model = normed_net()
        model[1].momentum = momentum
        run = replay(model=model, batch_size=60, epochs=1, optimizer=SGD, **settings)
        run.run((), ())
        found.append(model)
    for name in ("running_mean", "running_var", "num_batches_tracked"):
        assert torch.equal(getattr(found[0][1], name), getattr(found[1][1], name))
    assert not torch.equal(flat(found[0]), flat(found[1]))
    assert found[1][1].track_running_stats


def test_sam_finds_a_flatter_place(replay, blobs):
    """What it is for: a step of length rho uphill costs less at its end than at plain training's."""
    rises = []
    for settings in ({}, {"sam": {"rho": 0.5}}):
        run = replay(model=smooth_net(), epochs=30, **settings)
        run.run((), ())
        inputs, targets = blobs.batch(torch.from_numpy(run.split.members))
        w = flat(run.model).requires_grad_()
        loss = loss_at(w, inputs, targets)
        (g,) = torch.autograd.grad(loss, w)
        rise = loss_at(w + 0.5 * g / g.norm(), inputs, targets) - loss
        rises.append(rise.item())
    assert rises[1] < 0.7 * rises[0]
