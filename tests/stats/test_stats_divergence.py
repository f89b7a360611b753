"""Jensen-Shannon distance from posteriors that are known: what it is, what it is not above, and its interval."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import integrate, stats

from ptaudit.stats.divergence import group_mean, js_distance
from ptaudit.stats.estimate import Estimate, sqrt_estimate


def truth(shift):
    """Distance of two standard normal distributions, by numerical integration."""

    def density(x):
        one, two = stats.norm.pdf(x), stats.norm.pdf(x - shift)
        mid = (one + two) / 2
        return (one * math.log2(one / mid) + two * math.log2(two / mid)) / 2

    return math.sqrt(integrate.quad(density, -8, 8 + shift)[0])


def gaussian(rng, sizes, shift, believed=None):
    """Bits of the posterior that believes in a shift, and the groups."""
    group = np.repeat([0, 1], sizes)
    x = rng.standard_normal(len(group)) + shift * group
    believed = shift if believed is None else believed
    odds = believed * x - believed**2 / 2
    return 1 - np.logaddexp(0, np.where(group == 1, -odds, odds)) / math.log(2), group


def distance(bits, group, seed=0):
    return js_distance(bits, 0.0, group, np.arange(len(bits)) % 4, seed)


@pytest.mark.parametrize("shift", [0.5, 1.0, 2.0])
@pytest.mark.parametrize("sizes", [(4000, 4000), (7000, 700)])
def test_the_exact_posterior_gives_the_distance_whatever_the_sizes(shift, sizes):
    found = distance(*gaussian(np.random.default_rng(0), sizes, shift))
    assert found.value == pytest.approx(truth(shift), abs=0.03)
    assert found.lo <= truth(shift) <= found.hi
    assert (found.ceiling, found.n) == (1.0, sum(sizes))


def test_any_other_posterior_gives_less():
    for believed in (0.3, 3.0):
        found = distance(*gaussian(np.random.default_rng(0), (4000, 4000), 1.0, believed))
        assert found.hi < truth(1.0)


def test_disjoint_groups_are_at_the_ceiling_and_equal_ones_at_zero():
    group = np.repeat([0, 1, 2], [60, 60, 30])
    far = distance(np.full(150, math.log2(3)), group)
    assert far.value == pytest.approx(1.0)
    assert far.lo == pytest.approx(1 - 3 / 30)
    same = distance(np.zeros(150), group)
    assert (same.value, same.lo, same.hi) == (0.0, 0.0, 0.0)
    wrong = distance(np.random.default_rng(0).standard_normal(150) - 3, group)
    assert (wrong.value, wrong.lo) == (0.0, 0.0)
    assert (wrong.draws < 0).all()


def test_the_interval_covers_with_groups_of_different_size():
    truth_here = truth(1.0)
    runs = [distance(*gaussian(np.random.default_rng(seed), (400, 60), 1.0), seed) for seed in range(200)]
    assert np.mean([run.lo <= truth_here <= run.hi for run in runs]) >= 0.92
    assert np.mean([run.hi - run.lo for run in runs]) < 6 * np.std([run.value for run in runs])


def test_folds_that_disagree_widen_the_interval():
    bits, group = gaussian(np.random.default_rng(0), (400, 400), 1.0)
    fold = np.arange(800) % 4
    even = js_distance(bits, 0.0, group, fold, 0)
    uneven = js_distance(bits + np.array([-0.2, 0.2, -0.2, 0.2])[fold], 0.0, group, fold, 0)
    assert uneven.hi - uneven.lo > 2 * (even.hi - even.lo)


def test_every_group_counts_alike():
    assert group_mean(np.array([1.0, 1.0, 1.0, 5.0]), np.array([0, 0, 0, 2])) == 3.0


def test_roots_keep_the_order_and_lose_the_sign():
    squared = Estimate(4.0, -1.0, 9.0, -0.5, math.nan, 7, "dim-limited", np.array([-4.0, 16.0]))
    found = sqrt_estimate(squared, 4.0)
    assert (found.value, found.lo, found.hi, found.null, found.n) == (1.0, 0.0, 1.5, 0.0, 7)
    assert math.isnan(found.ceiling)
    assert found.status == "dim-limited"
    assert found.draws.tolist() == [-1.0, 2.0]
