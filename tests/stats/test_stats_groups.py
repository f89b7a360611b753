"""Groups of records: known answers, joint coverage, the worst of many, groups that are too small."""

import math

import numpy as np
import pytest
from scipy.stats import norm

from ptaudit.stats.groups import GroupedScores, auc_estimates, largest, tpr_estimates, worst
from ptaudit.stats.roc import auc_estimate, tpr_at_fpr

TABLES = 200
LEAST = math.ceil(0.93 * TABLES)


def table(generator, shifts, sizes=(20, 120), easy=0.0):
    """Unit normal scores; members of group g lie `shifts[g]` higher, all of group g `easy` * g."""
    count = len(shifts)
    groups = [np.repeat(np.arange(count), generator.integers(*sizes, count)) for _ in range(2)]
    inside, outside = (easy * group + generator.standard_normal(len(group)) for group in groups)
    return GroupedScores(inside + np.asarray(shifts)[groups[0]], outside, *groups, count)


def covers(estimates, truth):
    return all(e.lo <= t <= e.hi for e, t in zip(estimates, truth, strict=True))


@pytest.mark.parametrize("groups", [2, 10, 40])
def test_without_signal_intervals_hold_for_all_groups_at_once(groups):
    generator = np.random.default_rng(groups)
    found = [auc_estimates(table(generator, np.zeros(groups), easy=1.0)) for _ in range(TABLES)]
    assert sum(covers(one, [0.5] * groups) for one in found) >= LEAST
    assert np.mean([e.hi - e.lo for one in found for e in one]) < 0.5  # they do tell something


def test_with_signal_they_hold_too():
    generator, shifts = np.random.default_rng(3), np.linspace(0.0, 2.5, 8)
    truth = norm.cdf(shifts / math.sqrt(2))
    assert sum(covers(auc_estimates(table(generator, shifts)), truth) for _ in range(TABLES)) >= LEAST


def test_one_group_has_the_interval_of_one_number():
    scores = table(np.random.default_rng(4), [0.7])
    (one,), whole = auc_estimates(scores), auc_estimate(scores.inside, scores.outside, seed=0)
    assert (one.value, one.lo, one.hi, one.n) == pytest.approx((whole.value, whole.lo, whole.hi, whole.n))


@pytest.mark.parametrize("shift", [0.0, 1.5])
def test_rates_at_the_threshold_of_all_hold_for_all_groups_at_once(shift):
    generator, truth = np.random.default_rng(5), [norm.sf(norm.isf(0.01) - shift)] * 6
    tables = [table(generator, [shift] * 6, (90, 200)) for _ in range(TABLES)]
    found = [tpr_estimates(one, 0.01, seed=i) for i, one in enumerate(tables)]
    assert sum(covers(one, truth) for one in found) >= LEAST
    assert all(e.lo < 0.02 for e in found[0]) == (shift == 0.0)


def test_the_threshold_is_that_of_all_non_members_ties_included():
    generator = np.random.default_rng(6)
    inside, outside = generator.integers(0, 40, 300) / 4, generator.integers(0, 30, 700) / 4
    (one,) = tpr_estimates(GroupedScores(inside, outside, np.zeros(300, int), np.zeros(700, int), 1), 0.05, seed=0)
    assert one.value == pytest.approx(tpr_at_fpr(inside, outside, 0.05))
    assert one.null == 0.05


def test_a_group_that_alone_is_memorised_is_the_worst_and_differs_from_the_average():
    shifts = np.zeros(10)
    shifts[7] = 2.0
    scores = table(np.random.default_rng(7), shifts, (80, 120))
    for found, average in (
        (auc_estimates(scores), auc_estimate(scores.inside, scores.outside, seed=0).value),
        (tpr_estimates(scores, 0.01, seed=0), tpr_at_fpr(scores.inside, scores.outside, 0.01)),
    ):
        assert worst(found) == 7
        assert found[7].lo > average
        assert all(one.lo <= average for place, one in enumerate(found) if place != 7)


def test_the_interval_of_the_worst_of_many_covers_the_largest_and_not_what_is_highest_by_chance():
    """60 users without signal: the worst AUC is far above one half, its interval is not."""
    generator = np.random.default_rng(8)
    found = [largest(auc_estimates(table(generator, np.zeros(60), (20, 40)))) for _ in range(TABLES // 2)]
    assert np.mean([one.value for one in found]) > 0.6
    assert np.mean([one.lo <= 0.5 <= one.hi for one in found]) >= 0.93


def test_perfect_separation_is_no_certainty():
    generator = np.random.default_rng(9)
    scores = table(generator, [50.0, 0.0], (30, 31))
    perfect, _ = auc_estimates(scores)
    assert perfect.value == 1.0
    assert 0.8 < perfect.lo < 1.0 - 3.0 / 30  # two groups are compared: less sure than of one


def test_small_groups_are_inconclusive_with_the_number_needed():
    group_in, group_out = np.repeat([0, 1, 2], [50, 19, 30]), np.repeat([0, 1, 2], [60, 500, 12])
    scores = GroupedScores(np.arange(99.0), np.arange(572.0), group_in, group_out, 3)
    whole, few_in, few_out = auc_estimates(scores)
    assert whole.conclusive
    assert few_in.status == "inconclusive: needs 20 members in the group, there are 19"
    assert few_out.status == "inconclusive: needs 20 non-members in the group, there are 12"
    rates = tpr_estimates(scores, 0.01, seed=0)
    assert [one.conclusive for one in rates] == [True, False, True]
    lost = tpr_estimates(scores, 0.001, seed=0)
    assert {one.status for one in lost} == {"inconclusive: FPR 0.001 needs 5000 non-members, there are 572"}
    assert worst(lost) is None
    with pytest.raises(ValueError, match="no group"):
        largest(lost)
    alone = auc_estimates(GroupedScores(scores.inside[:50], scores.outside[:60], group_in[:50], group_out[:60], 1))
    assert whole.lo == alone[0].lo  # what cannot be measured is not compared
