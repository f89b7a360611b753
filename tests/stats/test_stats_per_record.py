import numpy as np
import pytest
from scipy import stats

from ptaudit.stats.per_record import fewest_out_models, standardised
from ptaudit.stats.student import normal_score


@pytest.mark.parametrize(("dof", "within"), [(1, 0.1), (3, 0.06), (20, 0.011)])
def test_normal_scores_are_as_far_out_as_t(dof, within):
    t = np.linspace(-10.0, 10.0, 201)
    exact = np.where(t < 0, stats.norm.ppf(stats.t.cdf(t, dof)), stats.norm.isf(stats.t.sf(t, dof)))
    np.testing.assert_allclose(normal_score(t, dof), exact, atol=within)
    assert (np.diff(normal_score(np.geomspace(1.0, 1e100, 50), dof)) > 0).all()
    assert np.isfinite(normal_score([-np.inf, 1e300], dof)).all()


def test_a_score_is_measured_by_the_models_without_the_record():
    known = np.array([[1.0, 5.0], [3.0, 100.0], [50.0, 7.0], [2.0, 6.0]])
    outside = np.array([[True, True], [True, False], [False, True], [True, True]])
    found = standardised(np.array([4.0, 6.0]), known, outside)
    assert found[0] == pytest.approx(float(normal_score((4.0 - 2.0) / np.sqrt(1.0 * (1 + 1 / 3)), 2)))
    assert found[1] == 0.0


def test_gaussian_scores_of_any_scale_are_standard_normal():
    generator = np.random.default_rng(0)
    mean, spread = 10.0 * generator.standard_normal(6000), np.exp(2.0 * generator.standard_normal(6000))
    scores = mean + spread * generator.standard_normal((7, 6000))
    found = standardised(scores[0], scores[1:], np.ones((6, 6000), dtype=bool))
    assert stats.kstest(found, "norm").pvalue > 0.01
    for upper in (0.1, 0.01):
        assert (found > stats.norm.isf(upper)).mean() == pytest.approx(upper, abs=4 * np.sqrt(upper / 6000))


def test_scores_without_spread_stay_finite_and_in_order():
    known = np.zeros((4, 3))
    found = standardised(np.array([-1.0, 0.0, 1.0]), known, np.ones((4, 3), dtype=bool))
    assert np.isfinite(found).all()
    assert found[0] < found[1] == 0.0 < found[2]


def test_one_model_has_no_spread():
    outside = np.array([[True, True], [True, False]])
    with pytest.raises(ValueError, match="needs 2 models without it, one has 1"):
        standardised(np.zeros(2), np.zeros((2, 2)), outside)


@pytest.mark.parametrize(("fpr", "models"), [(0.01, 5), (0.001, 7)])
def test_a_threshold_of_ones_own_needs_so_many_models(fpr, models):
    """The threshold of a t statistic of k normal numbers, by simulation, is within twice that of the normal one."""
    generator = np.random.default_rng(1)

    def threshold(count):
        known = generator.standard_normal((count, 400_000))
        t = (generator.standard_normal(400_000) - known.mean(0)) / known.std(0, ddof=1)
        return np.quantile(t, 1.0 - fpr)

    assert fewest_out_models(fpr) == models
    assert threshold(models) < 2.0 * stats.norm.isf(fpr) < threshold(models - 1)
