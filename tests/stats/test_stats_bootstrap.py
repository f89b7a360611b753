import math

import numpy as np
import pytest
from scipy import stats

from ptaudit.stats.bootstrap import from_matrix, from_values, of_low_rank, resample_weights

FAMILIES = {
    "gaussian": (lambda g, size: g.standard_normal(size), 0.0),
    "student-t3": (lambda g, size: g.standard_t(3, size), 0.0),
    "log-normal": (lambda g, size: g.lognormal(size=size), math.exp(0.5)),
}


def covered(lo, hi, truth):
    return float(np.mean((lo <= truth) & (truth <= hi)))


def coverages(family: str, n: int, runs: int) -> dict[str, float]:
    """Coverage of the interval in use and of the two simpler ones it was chosen over."""
    draw, truth = FAMILIES[family]
    values = draw(np.random.default_rng(7), (runs, n))
    estimates = from_matrix(values, null=0.0, ceiling=math.nan, seed=3)
    lo, hi = (np.array([getattr(e, end) for e in estimates]) for end in ("lo", "hi"))
    percentile = np.quantile([e.draws for e in estimates], [0.025, 0.975], axis=1)
    half = stats.t.ppf(0.975, n - 1) * values.std(axis=1, ddof=1) / math.sqrt(n)
    mean = values.mean(axis=1)
    return {
        "used": covered(lo, hi, truth),
        "percentile": covered(*percentile, truth),
        "normal": covered(mean - half, mean + half, truth),
    }


@pytest.mark.parametrize("n", [60, 250, 1000])
@pytest.mark.parametrize("family", FAMILIES)
def test_nominal_95_percent_covers_at_least_92(family, n):
    assert coverages(family, n, runs=600)["used"] >= 0.92


@pytest.mark.slow
@pytest.mark.parametrize("n", [60, 250, 1000])
@pytest.mark.parametrize("family", FAMILIES)
def test_coverage_with_ten_times_the_runs(family, n):
    assert 0.92 <= coverages(family, n, runs=6000)["used"] <= 0.98


def test_simpler_intervals_fall_short_on_skewed_values():
    measured = coverages("log-normal", 60, runs=1000)
    assert max(measured["percentile"], measured["normal"]) < 0.92 <= measured["used"]


def test_weights_are_multinomial_shares_and_deterministic():
    weights = resample_weights(50, 4000, 11)
    assert np.allclose(weights.sum(axis=1), 1)
    assert np.allclose(weights * 50, np.round(weights * 50))
    assert np.allclose(weights.mean(axis=0), 1 / 50, rtol=0.1)
    resample_weights.cache_clear()
    assert np.array_equal(weights, resample_weights(50, 4000, 11))
    assert not np.array_equal(weights, resample_weights(50, 4000, 12))
    assert abs(np.corrcoef(weights.ravel(), resample_weights(50, 4000, 11, stream=1).ravel())[0, 1]) < 0.02


def test_draws_are_the_weighted_means_and_shared_by_all_rows():
    values = np.random.default_rng(0).standard_normal((3, 40))
    estimates = from_matrix(values, null=0.0, ceiling=8.0, seed=5)
    for row, estimate in zip(values, estimates):
        assert estimate.value == pytest.approx(row.mean())
        assert np.allclose(estimate.draws, resample_weights(40, 1000, 5) @ row)
    difference = from_values(values[0] - values[1], null=0.0, ceiling=8.0, seed=5)
    assert np.allclose(difference.draws, estimates[0].draws - estimates[1].draws)


def test_one_row_equals_the_same_row_among_many():
    values = np.random.default_rng(0).lognormal(size=(4, 30))
    many = from_matrix(values, null=[0, 1, 2, 3], ceiling=8.0, seed=5, extra_variance=[0, 0, 0.1, 0])[2]
    one = from_values(values[2], null=2.0, ceiling=8.0, seed=5, extra_variance=0.1)
    assert (one.value, one.lo, one.hi, one.null) == pytest.approx((many.value, many.lo, many.hi, many.null))
    assert np.allclose(one.draws, many.draws)


def test_extra_variance_widens_interval_and_draws_independently_of_the_records():
    values = np.random.default_rng(1).standard_normal((2, 400))
    plain, other = from_matrix(values, null=0.0, ceiling=8.0, seed=0)
    wide, wide_other = from_matrix(values, null=0.0, ceiling=8.0, seed=0, extra_variance=0.04)
    for side in ("lo", "hi"):
        half = abs(getattr(plain, side) - plain.value)
        assert abs(getattr(wide, side) - wide.value) == pytest.approx(math.hypot(half, 1.96 * 0.2), rel=1e-3)
    added, added_other = wide.draws - plain.draws, wide_other.draws - other.draws
    assert added.std() == pytest.approx(0.2, rel=0.1)
    assert abs(np.corrcoef(added, plain.draws)[0, 1]) < 0.1
    assert abs(np.corrcoef(added, added_other)[0, 1]) < 0.1


def test_all_records_at_the_ceiling_leave_room_for_the_rule_of_three():
    estimate = from_values(np.full(60, 8.0), null=0.0, ceiling=8.0, seed=0)
    assert (estimate.value, estimate.lo, estimate.hi) == pytest.approx((8.0, 8.0 * (1 - 3 / 60), 8.0))
    elsewhere = from_values(np.full(60, 5.0), null=0.0, ceiling=8.0, seed=0)
    assert (elsewhere.lo, elsewhere.hi) == (5.0, 5.0)


@pytest.mark.parametrize("values", [[1.0, math.nan, 2.0], [1.0, math.inf, 2.0], [1.0], []])
def test_unusable_values_are_inconclusive(values):
    estimate = from_values(np.array(values), null=0.0, ceiling=8.0, seed=0)
    assert not estimate.conclusive
    assert estimate.status.startswith("inconclusive: ")
    assert math.isnan(estimate.value)
    assert estimate.draws is None


def test_one_bad_row_does_not_spoil_the_others():
    values = np.random.default_rng(2).standard_normal((3, 50))
    clean = from_matrix(values, null=0.0, ceiling=8.0, seed=0)
    values[1, 7] = math.nan
    first, bad, last = from_matrix(values, null=0.0, ceiling=8.0, seed=0)
    assert (first.lo, last.hi) == pytest.approx((clean[0].lo, clean[2].hi))
    assert not bad.conclusive


def test_draws_of_low_rank_keep_mean_spread_and_correlation():
    values = np.random.default_rng(0).normal(size=(3, 400))
    values[1] += values[0]
    draws = values @ resample_weights(400, 1000, 3).T
    fewer = of_low_rank(draws, 400)
    np.testing.assert_allclose(fewer.mean(1), draws.mean(1), atol=1e-9)
    np.testing.assert_allclose(fewer.std(1), draws.std(1), rtol=1e-9)
    np.testing.assert_allclose(np.corrcoef(fewer), np.corrcoef(draws), atol=0.15)
    assert of_low_rank(draws, 2000) is draws
    np.testing.assert_allclose(of_low_rank(draws[:1], 400), fewer[:1], rtol=1e-9)


def test_draws_of_low_rank_do_not_give_the_scores_that_full_ones_give():
    n = 200
    values = np.random.default_rng(1).normal(size=n)
    weights = resample_weights(n, 1000, 3)
    draws = values @ weights.T
    solved = np.linalg.lstsq(weights, draws, rcond=None)[0]
    np.testing.assert_allclose(solved, values, atol=1e-6)  # what is to be prevented
    many = np.stack([of_low_rank(np.random.default_rng(i).normal(size=n) @ weights.T, n) for i in range(300)])
    assert np.linalg.matrix_rank(many - many.mean(1, keepdims=True), tol=1e-8) < n / 2
    blind = np.linalg.lstsq(weights, of_low_rank(draws, n), rcond=None)[0]
    assert abs(np.corrcoef(blind - blind.mean(), values)[0, 1]) < 0.3
