"""What noise lets through: closed forms, limits, and exact mutual information that must stay below."""

import math

import numpy as np
import pytest
from scipy.special import logsumexp

from ptaudit.games.identity.measure import noise_ceiling
from ptaudit.stats.channel import channel_bits
from ptaudit.views.view import View


def exact_bits(points, noise, draws=200_000, seed=0):
    """I(which point; point + Gaussian noise), points equally likely, by Monte Carlo: value and its standard error."""
    generator = np.random.default_rng(seed)
    n, d = points.shape
    secret = generator.integers(n, size=draws)
    seen = points[secret] + noise * generator.standard_normal((draws, d))
    log_p = -((seen[:, None] - points) ** 2).sum(-1) / (2 * noise**2)
    bits = (log_p[np.arange(draws), secret] - logsumexp(log_p, axis=1) + math.log(n)) / math.log(2)
    return bits.mean(), bits.std() / math.sqrt(draws)


def constellation(n, d, seed):
    """Points of length at most 1, some on the sphere."""
    points = np.random.default_rng(seed).standard_normal((n, d))
    points /= np.maximum(np.linalg.norm(points, axis=1, keepdims=True), 1.0)
    return points


@pytest.mark.parametrize(("n", "d"), [(2, 1), (4, 2), (16, 3), (64, 8)])
@pytest.mark.parametrize("noise", [0.2, 0.5, 1.0, 3.0])
def test_no_constellation_gets_more_through(n, d, noise):
    points = constellation(n, d, 7 * n + d)
    exact, error = exact_bits(points, noise, draws=20_000)
    assert exact <= channel_bits(noise, 1.0, d) + 4 * error
    assert channel_bits(noise, 1.0, d) <= channel_bits(noise, 1.0, None)


def test_the_bounds_are_nearly_reached():
    """Antipodal points in much noise: all but the shape of the input is used."""
    exact, _ = exact_bits(np.array([[1.0], [-1.0]]), 3.0)
    assert 0.93 * channel_bits(3.0, 1.0, 1) < exact


def test_closed_forms():
    assert channel_bits(1.0, 1.0, 1) == pytest.approx(0.5)
    assert channel_bits(0.5, 2.0, 3, rounds=4) == pytest.approx(4 * 1.5 * math.log2(1 + 16 / 3))


def test_many_coordinates_approach_the_limit_from_below():
    by_size = [channel_bits(1.0, 1.0, d) for d in (1, 10, 1000, 10**9)]
    limit = channel_bits(1.0, 1.0, None)
    assert by_size == sorted(by_size)
    assert limit == pytest.approx(0.5 / math.log(2))
    assert by_size[-1] == pytest.approx(limit, rel=1e-6)
    assert limit < 0.73


def test_no_noise_and_no_signal():
    assert channel_bits(0.0, 1.0, 5) == math.inf
    assert channel_bits(0.0, 1.0, None) == math.inf
    assert channel_bits(0.0, 0.0, 5) == 0.0


def test_it_is_the_ceiling_of_the_identity_game():
    view = View("dp", 32, rounds=2, clip=0.7, noise_std=1.4)
    for parameters in (10, None):
        assert noise_ceiling(view, parameters) == channel_bits(1.4, 0.7, parameters, 2)
    assert noise_ceiling(View("plain", 32), 10) == math.inf
    assert noise_ceiling(View("noisy", 32, noise_std=1.0), 10) == math.inf


@pytest.mark.parametrize(
    "wrong",
    [
        {"noise_std": -1.0},
        {"noise_std": math.nan},
        {"clip": -1.0},
        {"clip": math.inf},
        {"parameters": 0},
        {"rounds": 0},
    ],
)
def test_values_out_of_range_are_refused(wrong):
    with pytest.raises(ValueError, match="at least"):
        channel_bits(**({"noise_std": 1.0, "clip": 1.0, "parameters": 3} | wrong))
