"""Distances from the boundary of a class: exact for linear models, held against a fine search for others."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from ptaudit.errors import ModelError
from ptaudit.gradients.boundary import FAR, boundary_distances


def linear(classes, features=6):
    torch.manual_seed(0)
    return nn.Linear(features, classes).double()


def exact(model, inputs, labels):
    """The least signed |gap| / ||w_y - w_j|| over all rivals j."""
    found, model = [], model.requires_grad_(False)
    for x, y in zip(inputs, labels.tolist()):
        ratios = []
        for j in range(model.out_features):
            if j != y:
                w = model.weight[y] - model.weight[j]
                ratios.append(float((w @ x + model.bias[y] - model.bias[j]) / w.norm()))
        found.append(min(ratios))
    return torch.tensor(found, dtype=torch.float64)


@pytest.mark.parametrize("steps", [1, 5])
@pytest.mark.parametrize("classes", [2, 4])
def test_of_a_linear_model_it_is_the_margin_over_the_norm(classes, steps):
    model, inputs = linear(classes), torch.randn(50, 6, dtype=torch.float64)
    labels = torch.arange(50) % classes
    with torch.no_grad():
        right = model(inputs).argmax(1) == labels
    keep = right if classes > 2 else torch.ones(50, dtype=torch.bool)  # several steps back cross several boundaries
    found = boundary_distances(model, inputs, labels, steps)
    assert right.any()
    assert (~right).any()
    torch.testing.assert_close(found[keep], exact(model, inputs, labels)[keep])
    assert (found[~right] < 0).all()


@pytest.mark.parametrize("shape", [(), (1,)])
def test_of_one_output_it_is_the_logit_over_the_norm(shape):
    one = linear(1)
    model = one if shape else nn.Sequential(one, nn.Flatten(0))
    inputs, labels = torch.randn(20, 6, dtype=torch.float64), torch.arange(20) % 2
    logit = one(inputs).detach().flatten()
    expected = (2.0 * labels - 1.0) * logit / one.weight.norm().detach()
    torch.testing.assert_close(boundary_distances(model, inputs, labels), expected)


def test_of_a_ball_it_is_the_distance_from_the_sphere():
    """Class 1 inside a ball of radius 2: steps along the normal converge to the nearest point."""

    class Ball(nn.Module):
        def forward(self, x):
            return torch.stack([torch.zeros(len(x), dtype=x.dtype), 4.0 - x.square().sum(1)], 1)

    radius = torch.tensor([0.5, 1.0, 1.9, 2.5, 4.0], dtype=torch.float64)
    inputs = radius[:, None] * nn.functional.normalize(torch.randn(5, 3, dtype=torch.float64), dim=1)
    found = boundary_distances(Ball(), inputs, torch.ones(5, dtype=torch.int64), 12)
    torch.testing.assert_close(found, 2.0 - radius, rtol=1e-6, atol=1e-6)


def test_of_a_network_the_moved_record_is_at_the_boundary_and_no_fine_search_is_far_below():
    """In two dimensions circles around a record are searched for another class."""
    torch.manual_seed(1)
    model = nn.Sequential(nn.Linear(2, 16), nn.Tanh(), nn.Linear(16, 3)).double()
    inputs = 2.0 * torch.randn(40, 2, dtype=torch.float64)
    with torch.no_grad():
        labels = model(inputs).argmax(1)
    found = boundary_distances(model, inputs, labels)
    angle = torch.linspace(0, 2 * math.pi, 721, dtype=torch.float64)
    circle = torch.stack([angle.cos(), angle.sin()], 1)
    near = 0
    for x, y, distance in zip(inputs, labels, found):
        with torch.no_grad():
            inside = model(x + 0.5 * distance * circle).argmax(1)
            outside = model(x + 1.1 * distance * circle).argmax(1)
        near += int((inside == y).all() and (outside != y).any())
    assert near >= 34


def test_the_model_is_left_as_it_was_and_what_has_no_slope_is_far():
    model = nn.Sequential(nn.Dropout(0.5), linear(2)).train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    boundary_distances(model, torch.randn(3, 6, dtype=torch.float64), torch.tensor([0, 1, 0]))
    assert model[0].training
    assert all(p.requires_grad and p.grad is None for p in model.parameters())
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    flat = nn.Linear(6, 2)
    nn.init.zeros_(flat.weight)
    nn.init.constant_(flat.bias, 1.0)
    flat.bias.data[0] = 2.0
    assert boundary_distances(flat, torch.randn(2, 6), torch.tensor([0, 1])).tolist() == [FAR, -FAR]


def test_what_gives_no_scores_of_classes_is_refused():
    with pytest.raises(ModelError, match="one score for each class"):
        boundary_distances(nn.Unflatten(1, (2, 3)), torch.randn(2, 6), torch.tensor([0, 1]))
