import math

import numpy as np
import pytest
from scipy import stats

from ptaudit.stats.binomial import at_ceiling, clopper_pearson, rule_of_three
from ptaudit.stats.permutation import derangement


def test_derangements_have_no_fixed_point_and_are_uniform():
    generator = np.random.default_rng(0)
    counts: dict[tuple[int, ...], int] = {}
    for _ in range(3600):
        order = derangement(4, generator)
        assert sorted(order) == [0, 1, 2, 3]
        assert not np.any(order == np.arange(4))
        counts[tuple(order)] = counts.get(tuple(order), 0) + 1
    assert len(counts) == 9  # all of them, not only the 6 cyclic ones
    assert stats.chisquare(list(counts.values())).pvalue > 0.001


def test_no_derangement_of_one():
    with pytest.raises(ValueError, match="no derangement of 1"):
        derangement(1, np.random.default_rng(0))


@pytest.mark.parametrize(("successes", "n"), [(0, 10), (10, 10), (3, 10), (1, 500)])
def test_clopper_pearson_agrees_with_scipy(successes, n):
    wanted = stats.binomtest(successes, n).proportion_ci(0.95, method="exact")
    assert clopper_pearson(successes, n) == pytest.approx((wanted.low, wanted.high))


def test_clopper_pearson_refuses_nonsense():
    with pytest.raises(ValueError, match="11 successes in 10 trials"):
        clopper_pearson(11, 10)
    with pytest.raises(ValueError, match="0 successes in 0 trials"):
        clopper_pearson(0, 0)


def test_rule_of_three_is_the_95_percent_bound_after_no_failure():
    for n in (50, 200, 1000):  # and a little wider than the exact one
        assert 1 - rule_of_three(1.0, n) > 1 - 0.05 ** (1 / n)
        assert 1 - rule_of_three(1.0, n) == pytest.approx(1 - 0.05 ** (1 / n), rel=0.04)
    assert rule_of_three(8.0, 2) == 0.0
    assert math.isnan(rule_of_three(8.0, 0))


def test_at_ceiling():
    assert at_ceiling(np.array([8.0, 7.999]), 8.0)
    assert not at_ceiling(np.array([8.0, 7.9]), 8.0)
    assert not at_ceiling(np.array([8.0]), math.nan)
    assert not at_ceiling(np.array([]), 8.0)
