import math

import numpy as np
import pytest
from fleets_in_motion import memberships
from scipy import stats

from ptaudit.stats.dynamics.difficulty import Probed, difficulty, held_out_losses, prediction_depth
from ptaudit.stats.dynamics.rank_correlation import rank_correlation
from ptaudit.stats.dynamics.size_law import size_law
from ptaudit.stats.estimate import Estimate, inconclusive


def test_a_record_is_learned_from_the_epoch_on_at_which_it_stays_right():
    """Two models without each of four records, one with it that is always right and not asked."""
    course = np.array(
        [
            [[1, 1], [0, 0], [0, 1], [0, 0]],
            [[1, 1], [1, 1], [1, 0], [0, 0]],
            [[1, 1], [1, 1], [0, 1], [0, 0]],
        ],
        dtype=bool,
    )  # fmt: skip  (epochs, records, models)
    correct = np.concatenate([np.moveaxis(course, 2, 1), np.ones((3, 1, 4), bool)], axis=1)
    outside = np.array([[True] * 4, [True] * 4, [False] * 4])
    found = difficulty(correct, outside, np.array([2.0, 4.0, 8.0]))
    assert found.iteration_learned.tolist() == [2.0, 4.0, 10.0, 12.0]
    assert found.never_learned.tolist() == [0.0, 0.0, 0.5, 1.0]
    assert found.wrong == pytest.approx([0.0, 1 / 3, 0.5, 1.0])
    assert list(found.by_name()) == ["iteration_learned", "never_learned", "wrong"]


def test_losses_are_those_of_models_without_the_record():
    outside = memberships(np.random.default_rng(0), 6, 10)
    losses = np.where(outside, 2.0, 1e9) * np.array([1.0, 0.5])[:, None, None]
    np.testing.assert_allclose(held_out_losses(losses, outside), [[2.0] * 10, [1.0] * 10])


def slow_depth(layers, said, neighbours):
    """Layer by layer from the end, record by record, while the probe still agrees."""
    found = []
    for record, own in enumerate(said):
        depth = len(layers.known)
        for known, asked in reversed(list(zip(layers.known, layers.asked))):
            near = sorted(range(len(known)), key=lambda i: sum((known[i] - asked[record]) ** 2))[:neighbours]
            classes = [int(layers.labels[i]) for i in near]
            if min(set(classes), key=lambda c: (-classes.count(c), c)) != own:
                break
            depth -= 1
        found.append(depth)
    return found


def test_prediction_depth_is_where_the_probe_begins_to_agree():
    """Classes come apart at the second layer; a third of the records crosses over at the third."""
    generator = np.random.default_rng(0)
    labels, truth = np.arange(60) % 2, np.arange(30) % 2
    crossing = np.arange(30) % 3 == 0
    noise = generator.standard_normal((4, 90, 3))
    apart = np.array([0.0, 8.0, 8.0, 8.0])
    sign = 2.0 * np.concatenate([labels, truth]) - 1.0
    late = np.where(np.concatenate([np.zeros(60, bool), crossing]), -sign, sign)
    hidden = [n + a * (late if place == 1 else sign)[:, None] for place, (n, a) in enumerate(zip(noise, apart))]
    layers = Probed([one[:60] for one in hidden], labels, [one[60:] for one in hidden])
    found = prediction_depth(layers, truth, 5)
    assert found.tolist() == slow_depth(layers, truth, 5)
    assert (found[crossing] == 2).all()
    assert (found[~crossing] <= 1).all()
    assert (prediction_depth(layers, 1 - truth, 5) == 4).all()
    with pytest.raises(ValueError, match="4 layers and 60 known records, needs 61"):
        prediction_depth(layers, truth, 61)


def test_what_does_not_fit_is_refused():
    correct, outside = np.ones((3, 4, 5), bool), np.ones((4, 5), bool)
    with pytest.raises(ValueError, match=r"is not \(epochs, models, records\)"):
        difficulty(correct, outside[:, :4], np.arange(3.0))
    with pytest.raises(ValueError, match="two ascending epochs"):
        difficulty(correct[:1], outside, np.arange(1.0))
    with pytest.raises(ValueError, match="1 records have no model"):
        difficulty(correct, outside & (np.arange(5) > 0), np.arange(3.0))


@pytest.mark.parametrize(("truth", "n"), [(0.0, 40), (0.6, 60), (-0.9, 200)])
def test_the_interval_of_a_rank_correlation_covers_it(truth, n):
    generator = np.random.default_rng(n)
    of_ranks = 6.0 / math.pi * math.asin(truth / 2.0)
    covered = []
    for _ in range(300):
        x, noise = generator.standard_normal((2, n))
        found = rank_correlation(x, np.exp(truth * x + math.sqrt(1 - truth**2) * noise), seed=0, draws=20)
        covered.append(found.lo <= of_ranks <= found.hi)
    assert np.mean(covered) >= 0.92


def test_a_rank_correlation_is_scipys_and_its_draws_spread_as_its_interval():
    generator = np.random.default_rng(0)
    x, noise = generator.integers(0, 9, 300), generator.standard_normal(300)
    found = rank_correlation(x.astype(float), x + 4 * noise, seed=0)
    assert found.value == pytest.approx(stats.spearmanr(x, x + 4 * noise).statistic)
    assert found.draws.std() == pytest.approx((found.hi - found.lo) / 3.92, rel=0.2)
    assert rank_correlation(x.astype(float), -2.0 * x, seed=0).value == pytest.approx(-1.0)
    assert "needs 20 records" in rank_correlation(np.arange(5.0), np.arange(5.0), seed=0).status
    assert "same value" in rank_correlation(np.zeros(30), np.arange(30.0), seed=0).status
    assert "not finite" in rank_correlation(np.full(30, np.nan), np.arange(30.0), seed=0).status


def measured(value, error):
    return Estimate(value, value - 1.96 * error, value + 1.96 * error, 0.0, 1.0, 100)


def test_the_slope_of_a_power_law_is_found_and_its_interval_covers():
    sizes, generator = np.array([10.0, 30.0, 100.0, 300.0, 1000.0]), np.random.default_rng(0)
    true = 2.0 * sizes**-0.5
    exact = size_law(sizes, [measured(value, 0.01 * value) for value in true])
    assert exact.slope.value == pytest.approx(-0.5)
    assert exact.intercept == pytest.approx(math.log(2.0))
    assert exact.scatter == pytest.approx(0.0, abs=1e-6)
    assert exact.slope.n == 5
    for off in (0.0, 0.2):  # data sets that are off the line by more than their errors say
        covered = []
        for _ in range(300):
            error = true * np.linspace(0.02, 0.1, 5)
            seen = true * np.exp(off * generator.standard_normal(5)) + error * generator.standard_normal(5)
            found = size_law(sizes, [measured(*each) for each in zip(seen, error)]).slope
            covered.append(found.lo <= -0.5 <= found.hi)
        assert np.mean(covered) >= 0.9


def test_a_law_of_nothing_is_inconclusive():
    good = [measured(0.5, 0.1), measured(0.3, 0.1), measured(0.2, 0.1)]
    assert size_law([1, 10, 100], good).slope.conclusive
    assert "needs 3 different" in size_law([1, 10, 10], good).slope.status
    assert (
        "at 100 examples is -0.01, and has no log"
        in size_law([1, 10, 100], [*good[:2], measured(-0.01, 0.1)]).slope.status
    )
    assert "inconclusive: few" in size_law([1, 10, 100], [*good[:2], inconclusive("few")]).slope.status
    assert "has no interval" in size_law([1, 10, 100], [*good[:2], measured(0.1, 0.0)]).slope.status
    with pytest.raises(ValueError, match="3 advantages need as many"):
        size_law([1, 10], good)
