"""Fidelity of rebuilt records, held against slow versions that are obviously right."""

import itertools
import math

import numpy as np
import pytest

from ptaudit.stats import fidelity
from ptaudit.stats.bootstrap import from_values

RNG = np.random.default_rng(5)


def slow_ssim(x, y, data_range):
    """One picture (C, H, W), window by window, pixel by pixel."""
    c1, c2, found = (0.01 * data_range) ** 2, (0.03 * data_range) ** 2, []
    _, height, width = x.shape
    sides = [min(11, side if side % 2 else side - 1) for side in (height, width)]
    weight = np.array(
        [
            [math.exp(-((i - sides[0] // 2) ** 2 + (j - sides[1] // 2) ** 2) / (2 * 1.5**2)) for j in range(sides[1])]
            for i in range(sides[0])
        ]
    )
    weight /= weight.sum()
    for channel in range(x.shape[0]):
        for top in range(height - sides[0] + 1):
            for left in range(width - sides[1] + 1):
                a = x[channel, top : top + sides[0], left : left + sides[1]]
                b = y[channel, top : top + sides[0], left : left + sides[1]]
                ma, mb = (weight * a).sum(), (weight * b).sum()
                va, vb = (weight * (a - ma) ** 2).sum(), (weight * (b - mb) ** 2).sum()
                cov = (weight * (a - ma) * (b - mb)).sum()
                found.append((2 * ma * mb + c1) * (2 * cov + c2) / ((ma**2 + mb**2 + c1) * (va + vb + c2)))
    return np.mean(found)


@pytest.mark.parametrize("shape", [(1, 14, 17), (3, 12, 11), (1, 8, 9)])
def test_ssim_is_that_of_wang_et_al(shape):
    true, data_range = RNG.random((4, *shape)) * 2.0, 2.0
    rebuilt = true + 0.3 * RNG.standard_normal(true.shape)
    slow = [slow_ssim(x, y, data_range) for x, y in zip(rebuilt, true)]
    np.testing.assert_allclose(fidelity.ssim(rebuilt, true, data_range), slow, rtol=1e-9)
    np.testing.assert_allclose(fidelity.ssim(true, true, data_range), 1.0)


def test_psnr_has_its_range_and_its_most():
    true = RNG.random((3, 1, 4, 4)) * 255.0
    rebuilt = true + np.array([0.0, 5.0, -20.0])[:, None, None, None]
    expected = [fidelity.MOST_PSNR, 20 * math.log10(255 / 5), 20 * math.log10(255 / 20)]
    np.testing.assert_allclose(fidelity.psnr(rebuilt, true, 255.0), expected)
    rounded = np.round(true)  # to 256 levels: an error uniform within half a level
    assert abs(fidelity.psnr(rounded[:1], true[:1], 255.0)[0] - fidelity.MOST_PSNR) < 2.5


def test_explained_variance_is_the_ratio_and_its_interval_that_of_the_ratio():
    draws = []
    for seed in range(300):
        rng = np.random.default_rng(seed)
        prior = rng.chisquare(3, 80)
        error = prior * rng.uniform(0.0, 0.8, 80)
        values = fidelity.explained_variance(error, prior)
        assert values.mean() == pytest.approx(1.0 - error.mean() / prior.mean())
        estimate = from_values(values, null=0.0, ceiling=1.0, seed=seed)
        draws.append(estimate.lo <= 0.6 <= estimate.hi)
    assert 0.91 <= np.mean(draws) <= 0.985
    assert np.isnan(fidelity.explained_variance(np.zeros(3), np.zeros(3))).all()


def test_assignment_is_the_best_of_all():
    for _ in range(20):
        rebuilt, true = RNG.standard_normal((4, 5)), RNG.standard_normal((6, 5))
        cost = [[((a - b) ** 2).sum() for b in true] for a in rebuilt]
        best = min(itertools.permutations(range(6), 4), key=lambda order: sum(cost[i][j] for i, j in enumerate(order)))
        assert fidelity.assignment(rebuilt, true).tolist() == list(best)


def test_identified_counts_ties_by_their_share():
    candidates = np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 0.0], [5.0, 5.0]])
    rebuilt = np.array([[0.1, 0.0], [0.9, 0.0], [0.9, 0.0], [5.0, 5.0]])
    assert fidelity.identified(rebuilt, candidates, np.array([0, 1, 2, 3])).tolist() == [0.5, 1.0, 0.0, 1.0]
    assert fidelity.nearest(rebuilt, candidates).tolist() == [0, 1, 1, 3]
    noise = RNG.standard_normal((4000, 3))
    pool = RNG.standard_normal((8, 3))
    assert fidelity.identified(noise, pool, RNG.integers(8, size=4000)).mean() == pytest.approx(1 / 8, abs=0.02)


def test_share_above_keeps_what_is_no_number():
    found = fidelity.share_above(np.array([0.2, 0.5, 0.7, np.nan]), 0.5)
    assert found[:3].tolist() == [0.0, 0.0, 1.0]
    assert np.isnan(found[3])
