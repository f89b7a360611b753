"""Inner products of records' gradients with directions are those of the gradients one by one."""

from __future__ import annotations

import pytest
import token_models as models
import torch
from token_reference import cross_entropy, per_record_gradients
from torch import nn

from ptaudit.gradients.layers import find_layers
from ptaudit.gradients.products import products
from ptaudit.gradients.record_losses import RecordLosses

N = 6


def mlp():
    return nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 3))


def cnn():
    first = (nn.Conv2d(2, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU())
    return nn.Sequential(*first, nn.Conv2d(4, 8, 3, stride=2), nn.GroupNorm(2, 8), nn.Flatten(), nn.Linear(32, 3))


def words():
    return torch.randint(0, 7, (N, 4))


CASES = {
    "MLP": (mlp, lambda: torch.randn(N, 6)),
    "CNN": (cnn, lambda: torch.randn(N, 2, 6, 6)),
    "many positions": (models.Frames, lambda: torch.randn(N, 3, 1, 5, 5)),
    "attention and embeddings": (models.Attention, words),
    "tied weights": (models.Tied, words),
    "own parameters": (models.Custom, lambda: torch.randn(N, 4, 6)),
    "unused and frozen": (models.Heads, lambda: torch.randn(N, 6)),
    "activation checkpoint": (models.Checkpointed, lambda: torch.randn(N, 6)),
    "LSTM": (models.Recurrent, lambda: torch.randn(N, 4, 5)),
}


def case(model, inputs):
    layers = find_layers(model)
    directions = {layer.path(name): torch.randn(p.shape) for layer in layers for name, p in layer.parameters.items()}
    return RecordLosses(model, cross_entropy, inputs, torch.arange(N) % 3), layers, directions


@pytest.mark.parametrize("name", CASES)
def test_products_are_those_of_the_gradients_of_single_records(name):
    torch.manual_seed(0)
    make, inputs = CASES[name]
    losses, layers, directions = case(make().train(), inputs())
    found = products(losses, layers, directions)
    assert losses.model.training
    assert not found.failed
    one_by_one = per_record_gradients(losses.model, cross_entropy, losses.inputs, losses.targets)
    for layer, row in zip(layers, found.values):
        paths = [layer.path(name) for name in layer.parameters]
        true = sum((one_by_one[path] * directions[path]).reshape(N, -1).sum(1) for path in paths)
        torch.testing.assert_close(row.float(), true, rtol=1e-4, atol=1e-5)


class Hiding(torch.autograd.Function):
    """Its backward pass is written without regard for its own derivative."""

    @staticmethod
    def forward(ctx, x):
        return 2.0 * x

    @staticmethod
    def backward(ctx, grad):
        return 2.0 * grad.detach()


class Once(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return 2.0 * x

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, grad):
        return 2.0 * grad


@pytest.mark.parametrize("operation", [Hiding, Once])
def test_layers_below_an_operation_without_a_second_derivative_are_not_known(operation):
    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.below, self.above = nn.Linear(6, 4), nn.Linear(4, 3)

        def forward(self, x):
            return self.above(operation.apply(self.below(x)))

    torch.manual_seed(0)
    found = products(*case(Model(), torch.randn(N, 6)))
    assert set(found.failed) == {"below"}
    assert found.failed["below"].startswith("no second derivative")
    assert found.values[0].isnan().all()
    assert found.values[1].isfinite().all()
