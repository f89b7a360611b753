import numpy as np
import pytest
from scipy import stats

from ptaudit.stats.bootstrap import from_matrix
from ptaudit.stats.simultaneous import sidak_bounds, simultaneous_bounds, spread
from ptaudit.stats.welch import satterthwaite, two_sided_p, welch


def table(generator, rows, n, shared):
    values = np.sqrt(shared) * generator.standard_normal((1, n))
    values = values + np.sqrt(1 - shared) * generator.standard_normal((rows, n))
    estimates = from_matrix(values, null=0.0, ceiling=np.nan, seed=0)
    return np.array([e.value for e in estimates]), np.array([e.draws for e in estimates])


@pytest.mark.parametrize("shared", [0.0, 0.9])
def test_joint_coverage(shared):
    generator = np.random.default_rng(1)
    held = []
    for _ in range(100):
        lo, hi = simultaneous_bounds(*table(generator, 15, 120, shared))
        held.append(bool(np.all((lo <= 0) & (hi >= 0))))
    assert np.mean(held) > 0.88


def test_half_width_lies_between_one_row_and_sidak_and_shrinks_with_correlation():
    generator = np.random.default_rng(2)

    def critical(rows, shared):
        values, draws = table(generator, rows, 300, shared)
        lo, hi = simultaneous_bounds(values, draws)
        return float(np.mean((hi - lo) / 2 / spread(draws)))

    sidak = stats.norm.isf((1 - 0.95 ** (1 / 20)) / 2)
    assert critical(1, 0.0) == pytest.approx(1.96, abs=0.15)
    assert critical(20, 0.0) == pytest.approx(sidak, abs=0.25)
    assert 1.8 < critical(20, 0.98) < critical(20, 0.0) - 0.3


def test_more_rows_never_narrow_a_row():
    values, draws = table(np.random.default_rng(3), 12, 100, 0.5)
    few, many = (simultaneous_bounds(values[:k], draws[:k]) for k in (4, 12))
    assert np.all(many[0][:4] <= few[0])
    assert np.all(many[1][:4] >= few[1])


def test_rows_without_spread_have_their_value_as_bounds_and_cost_nothing():
    values, draws = table(np.random.default_rng(4), 3, 100, 0.5)
    lo, hi = simultaneous_bounds(values, draws)
    still = np.vstack([draws, np.full((1, 1000), np.float64(np.float32(7.3)))])
    lo2, hi2 = simultaneous_bounds(np.append(values, 7.3), still)
    assert np.allclose(lo2[:3], lo)
    assert np.allclose(hi2[:3], hi)
    assert (lo2[3], hi2[3]) == (7.3, 7.3)
    assert simultaneous_bounds(np.array([7.3]), still[3:])[0][0] == 7.3


def test_sidak_stretches_each_half_of_an_interval():
    values, lo, hi = np.zeros(10), np.full(10, -1.96), np.full(10, 3.92)
    lower, upper = sidak_bounds(values, lo, hi)
    wanted = stats.norm.isf((1 - 0.95**0.1) / 2)
    assert np.allclose(lower, -wanted, rtol=1e-3)
    assert np.allclose(upper, 2 * wanted, rtol=1e-3)
    one = sidak_bounds(values[:1], lo[:1], hi[:1])
    assert (one[0][0], one[1][0]) == pytest.approx((-1.96, 3.92))
    few = sidak_bounds(values, lo, hi, dof=2.0)
    ratio = stats.t.isf((1 - 0.95**0.1) / 2, 2) / stats.t.isf(0.025, 2)
    assert np.allclose(few[1], 3.92 * ratio)


def test_welch_agrees_with_scipy():
    generator = np.random.default_rng(0)
    before, after = generator.normal(0, 1, (5, 6)), generator.normal(1, 3, (4, 6))
    difference, _, dof, p = welch(before, after)
    wanted = stats.ttest_ind(after, before, equal_var=False)
    assert np.allclose(p, wanted.pvalue)
    assert np.allclose(dof, wanted.df)
    assert np.allclose(difference, after.mean(0) - before.mean(0))


def test_further_variance_adds_to_the_error():
    before, after = np.zeros((3, 1)), np.ones((3, 1))
    _, error, dof, p = welch(before, after, [(np.array([0.25]), np.array([99.0]))])
    assert (error[0], dof[0]) == pytest.approx((0.5, 99))
    assert p[0] == pytest.approx(2 * stats.t.sf(2, 99))


def test_no_variance_at_all():
    assert two_sided_p(np.array([0.0, 0.1]), np.zeros(2)).tolist() == [1.0, 0.0]
    total, dof = satterthwaite([np.array([2.0])], [np.array([7.0])])
    assert (total[0], dof[0]) == pytest.approx((2.0, 7.0))
