"""Records from moments of one gradient: nearer the wider the network is, at the paper's rate, and refused where no
gradient could name them."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from torch import nn

from ptaudit.attacks.inversion.tensor_method import NotIdentifiableError, hermite_coefficient, reconstruct


def shifted(z):
    """Neither even nor odd."""
    return np.tanh(z + 0.7)


def unit(batch, d, seed):
    x = np.random.default_rng(seed).standard_normal((batch, d))
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def released(x, slopes, width, activation, seed):
    """Weights of a first layer, and the gradient of the batch by those of the second."""
    weights = np.random.default_rng([seed, width]).standard_normal((width, x.shape[1]))
    return activation(weights @ x.T) @ slopes, weights


def error(found, x, signs=True):
    """Root mean square distance of the best matching of found records to true ones."""
    orders = itertools.permutations(range(len(x)))
    gaps = [found[list(order)] - x for order in orders]
    if not signs:
        orders = itertools.permutations(range(len(x)))
        gaps = [np.sign((found[list(o)] * x).sum(1))[:, None] * found[list(o)] - x for o in orders]
    return min(math.sqrt((gap**2).sum(1).mean()) for gap in gaps)


def test_the_error_falls_with_the_root_of_the_width():
    widths = [1 << 12, 1 << 14, 1 << 16, 1 << 18]
    errors = []
    for width in widths:
        found = []
        for seed in range(5):
            x = unit(2, 5, seed)
            gradient, weights = released(x, np.array([1.0, -0.7]), width, shifted, seed)
            found.append(error(reconstruct(gradient, weights, shifted, 2, np.random.default_rng(0)), x))
        errors.append(np.median(found))
    slope = np.polyfit(np.log(widths), np.log(errors), 1)[0]
    assert -0.65 < slope < -0.35, errors
    assert errors[-1] < 0.1


def test_signs_are_found_and_those_of_an_odd_activation_cannot_be():
    x = unit(3, 6, 1)
    slopes = np.array([1.0, -1.2, 0.8])
    gradient, weights = released(x, slopes, 1 << 18, shifted, 0)
    assert error(reconstruct(gradient, weights, shifted, 3, np.random.default_rng(0)), x) < 0.2
    gradient, weights = released(x, slopes, 1 << 18, np.tanh, 0)
    mirrored, _ = released(-x, -slopes, 1 << 18, np.tanh, 0)
    np.testing.assert_allclose(mirrored, gradient)
    assert error(reconstruct(gradient, weights, np.tanh, 3, np.random.default_rng(0)), x, signs=False) < 0.2


def test_it_reads_the_gradient_that_torch_computes():
    torch.manual_seed(0)
    x, y = torch.from_numpy(unit(2, 5, 3)), torch.tensor([1.5, -2.0]).double()
    first, last = nn.Linear(5, 1 << 17, bias=False).double(), nn.Linear(1 << 17, 1, bias=False).double()
    nn.init.normal_(first.weight)
    nn.init.normal_(last.weight, std=1e-4)
    loss = (last(torch.tanh(first(x) + 0.7))[:, 0] - y).square().mean()
    (gradient,) = torch.autograd.grad(loss, [last.weight])
    found = reconstruct(gradient[0].numpy(), first.weight.detach().numpy(), shifted, 2, np.random.default_rng(0))
    assert error(found, x.numpy()) < 0.15


def test_hermite_coefficients_are_means_of_derivatives():
    assert hermite_coefficient(lambda z: z**3, 3) == pytest.approx(6.0)
    assert hermite_coefficient(lambda z: z**3, 1) == pytest.approx(3.0)
    assert hermite_coefficient(np.exp, 2) == pytest.approx(math.exp(0.5))
    assert hermite_coefficient(np.tanh, 2) == pytest.approx(0.0, abs=1e-12)


def test_what_no_gradient_names_is_refused():
    generator = np.random.default_rng(0)
    x = unit(2, 4, 0)
    gradient, weights = released(x, np.ones(2), 1 << 12, shifted, 0)
    with pytest.raises(NotIdentifiableError, match="5 records of 4 numbers"):
        reconstruct(gradient, weights, shifted, 5, generator)
    with pytest.raises(NotIdentifiableError, match="third Hermite coefficient"):
        reconstruct(gradient, weights, lambda z: np.maximum(z, 0.0), 2, generator)
    with pytest.raises(NotIdentifiableError, match="no slope"):
        reconstruct(np.zeros_like(gradient), weights, shifted, 2, generator)
