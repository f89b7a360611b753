"""What the learned encoders are made of: scaling, principal components, words of warning."""

from __future__ import annotations

import torch

from ptaudit.sketches.encoders.base import Fitted
from ptaudit.sketches.encoders.network import components
from ptaudit.sketches.encoders.scaling import Scaling


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_directions_and_sizes_are_scaled_by_layer():
    generator = seeded(0)
    size = 10.0 ** (2.0 * torch.randn(1, 1280, 1, generator=generator))
    basis = torch.linalg.qr(torch.randn(3, 64, 6, generator=generator)).Q
    x = size * torch.randn(3, 1280, 6, generator=generator) @ basis.mT
    scaled = Scaling.of(x)(x)
    assert scaled.mean(1).abs().max() < 1e-4
    torch.testing.assert_close(scaled.square().mean((1, 2)), torch.ones(3), rtol=1e-3, atol=0)
    again = Scaling.of(1e-30 * x.double())(1e-30 * x.double())
    torch.testing.assert_close(again, scaled, rtol=1e-3, atol=1e-3)
    assert scaled.abs().max() < 40  # of values over twelve decades


def test_components_are_those_of_an_exact_decomposition():
    x = torch.randn(2, 300, 20, generator=seeded(0)) * torch.logspace(1, -2, 20)
    x[1] = 0.0
    found = components(x, 5, seeded(1))
    torch.testing.assert_close(found.mT @ found, torch.eye(5).expand(2, 5, 5), rtol=0, atol=1e-5)
    exact = torch.linalg.svd(x[0], full_matrices=False).Vh[:5].T
    torch.testing.assert_close((exact.T @ found[0]).diagonal().abs(), torch.ones(5), rtol=0, atol=1e-4)


def test_warnings_name_the_poor_rows():
    poor = Fitted((0.9, 0.3, 0.95), (0.9, 0.3, 0.95), (0.01, 0.1, 0.1), 10, 0)
    assert "a 0.30" in poor.warning(["*", "a", "b"])
    assert poor.warning(["*", "a", "b"]).count("0.9") == 0
    chance = Fitted((0.9, 0.55), (0.9, 0.55), (0.01, 0.5), 10, 0)
    assert "a 0.55" in chance.warning(["*", "a"])
