import numpy as np
import pytest
from fleets_in_motion import fleet, memberships
from scipy import stats

from ptaudit.stats.binomial import clopper_pearson
from ptaudit.stats.dynamics.plane import FleetTrajectory, plane, points, thresholds
from ptaudit.stats.dynamics.regions import CONSPICUOUS, EXPOSED, HIDDEN, INVERTED, Regions, even, quarters, refuse_finer

GENERATOR = np.random.default_rng


def test_a_share_of_all_pairs_outside_is_above_the_threshold():
    found = fleet(GENERATOR(0), 16, 200, np.full((3, 200), 2.0), fpr=0.2)
    above = found.scores > thresholds(found)[:, None, None]
    for epoch in range(3):
        assert above[epoch][found.outside].mean() == pytest.approx(0.2, abs=0.001)


@pytest.mark.parametrize("models", [8, 16, 32])
def test_few_models_are_fitted_and_the_interval_covers(models):
    """Records with their own places; the truth is that of the threshold at hand."""
    generator, n = GENERATOR(models), 2000
    lower, shift = generator.normal(size=n) / 2, generator.uniform(0.0, 3.0, n)
    inside = memberships(generator, models, n)
    scores = lower + shift * inside + generator.standard_normal((1, models, n))
    found = plane(FleetTrajectory(scores, inside, ~inside, np.array([1.0])))
    cut = thresholds(FleetTrajectory(scores, inside, ~inside, np.array([1.0])))[0]
    truth = stats.norm.sf(cut - np.stack([lower, lower + shift], -1))
    covered = ((found.lo[0] <= truth) & (truth <= found.hi[0])).mean(0)
    assert (covered >= 0.935).all()
    assert (covered <= 0.985).all()
    assert ((found.lo <= found.points) & (found.points <= found.hi)).all()
    assert "Gaussian" in found.method
    assert found.resolution == 2 / models


def test_many_models_are_counted_with_exact_intervals():
    found = fleet(GENERATOR(0), 64, 50, np.full((2, 50), 1.5))
    there = plane(found)
    above = found.scores > thresholds(found)[:, None, None]
    rate = (above & found.inside).sum(1) / found.inside.sum(0)
    np.testing.assert_array_equal(there.points[..., 1], rate)
    assert "shares of 64 models" in there.method
    for record in range(50):
        right = int((above[1] & found.inside)[:, record].sum())
        assert (there.lo[1, record, 1], there.hi[1, record, 1]) == pytest.approx(clopper_pearson(right, 32))
    np.testing.assert_allclose(there.advantage, there.points[..., 1] - there.points[..., 0])


def test_scores_that_are_all_equal_are_counted():
    inside = memberships(GENERATOR(0), 8, 30)
    scores = np.where(inside, 1.0, 0.0)[None]
    there = plane(FleetTrajectory(scores, inside, ~inside, np.array([1.0])))
    assert (there.points[..., 0] == 0.0).all()
    assert (there.points[..., 1] == 1.0).all()
    assert there.hi[0, 0, 0] == pytest.approx(clopper_pearson(0, 4)[1])


def test_a_model_on_neither_side_is_not_looked_at():
    found = fleet(GENERATOR(0), 12, 40, np.full((2, 40), 1.0))
    used = np.arange(12) != 3
    spoilt = found.scores.copy()
    spoilt[:, 3] = np.nan
    without = FleetTrajectory(spoilt, found.inside & used[:, None], found.outside & used[:, None], found.epochs)
    np.testing.assert_allclose(points(without), points(found.some(np.flatnonzero(used))))


def test_what_does_not_fit_is_refused():
    found = fleet(GENERATOR(0), 8, 10, np.zeros((2, 10)))
    with pytest.raises(ValueError, match="need masks"):
        FleetTrajectory(found.scores, found.inside[:4], found.outside, found.epochs)
    with pytest.raises(ValueError, match="ascending epochs"):
        FleetTrajectory(found.scores, found.inside, found.outside, np.array([2.0, 1.0]))
    with pytest.raises(ValueError, match="trained on a record and not"):
        FleetTrajectory(found.scores, found.inside, ~found.inside | found.inside, found.epochs)
    with pytest.raises(ValueError, match="between 0 and 1, not 1"):
        FleetTrajectory(found.scores, found.inside, found.outside, found.epochs, 1.0)
    with pytest.raises(ValueError, match="3 models with it and 3 without, one has 0"):
        found.some(np.arange(4))
    with pytest.raises(ValueError, match="not finite"):
        FleetTrajectory(np.where(found.scores > 1, np.inf, found.scores), found.inside, found.outside, found.epochs)


def test_regions_have_places_and_are_never_finer_than_the_models_resolve():
    some = quarters(32)
    at = np.array([[0.1, 0.2], [0.1, 0.9], [0.3, 0.1], [0.3, 0.5]])
    assert some.place(at).tolist() == [HIDDEN, EXPOSED, INVERTED, CONSPICUOUS]
    assert some.names[EXPOSED] == "exposed"
    assert some.among(at).sum(-1).tolist() == [1.0] * 4
    assert quarters(8).fpr_cuts.tolist() == [0.5]
    assert [even(models).count for models in (8, 20, 32, 40, 200)] == [4, 25, 64, 100, 100]
    for models in (8, 12, 20, 64):
        for regions in (quarters(models), even(models)):
            refuse_finer(regions, models)
    with pytest.raises(ValueError, match=r"finer than 16 models resolve: at least 0\.25"):
        refuse_finer(Regions(np.array([0.1]), np.array([0.5])), 16)
    with pytest.raises(ValueError, match="need 8 models, there are 6"):
        even(6)
