import math
from dataclasses import replace

import numpy as np
import pytest
from fleets_in_motion import exposed_from, fleet
from scipy import stats

from ptaudit.stats.dynamics.apart import effect
from ptaudit.stats.dynamics.movement import movement
from ptaudit.stats.dynamics.plane import points
from ptaudit.stats.dynamics.regions import CONSPICUOUS, EXPOSED, HIDDEN, even, quarters
from ptaudit.stats.dynamics.resampled import Measure, Sampling, familywise, resampled, shuffled


def some(seed, models, n, shift, draws, permutations):
    drawn = fleet(np.random.default_rng(seed), models, n, shift)
    return movement(drawn, Sampling(seed, draws, permutations))


def test_records_that_become_exposed_at_an_epoch_are_found_there():
    """A quarter at the third of five epochs, the others never."""
    when = np.where(np.arange(200) < 50, 2, -1)
    found = some(0, 32, 200, exposed_from(5, 200, when), 200, 99)
    beyond = np.argwhere(found.transitions.beyond_chance).tolist()
    assert [1, HIDDEN, EXPOSED] in beyond
    assert {step for step, _, into in beyond if into == EXPOSED} == {1}
    assert found.transitions.peak_step == 1
    peak = found.transitions.peak
    assert peak.lo <= 0.25 <= peak.hi
    assert peak.value > 5 * peak.null
    assert found.speed.estimates[1].value > 0.15
    assert found.speed.beyond_chance.tolist() == [False, True, False, False]
    assert found.already_exposed[1].hi < 0.2
    assert found.already_exposed[2].lo > 0.7
    assert found.already_exposed[4].value == 1.0
    assert found.entropy_change.estimates[0].value > found.entropy_change.estimates[0].null


def test_numbers_are_those_of_the_points():
    drawn = fleet(np.random.default_rng(1), 16, 60, np.linspace(0.0, 3.0, 4)[:, None] * np.ones(60))
    found, at = movement(drawn, Sampling(0, 50, 19)), points(drawn)
    advantage = at[..., 1] - at[..., 0]
    assert [one.value for one in found.speed.estimates] == pytest.approx(np.diff(advantage.mean(1)).tolist())
    centre = at.mean(1)
    assert [one.value for one in found.displacement.estimates] == pytest.approx(
        [math.dist(centre[0], centre[e]) for e in (1, 2, 3)]
    )
    share = np.bincount(even(16).place(at[2])) / 60
    assert found.entropy.estimates[2].value == pytest.approx(stats.entropy(share, base=2))
    place = quarters(16).place(at)
    for step in range(3):
        for a in range(4):
            for b in range(4):
                moved = ((place[step] == a) & (place[step + 1] == b)).mean()
                assert found.transitions.shares[step, a, b] == pytest.approx(moved)
    np.testing.assert_allclose(found.transitions.net, -np.swapaxes(found.transitions.net, 1, 2))
    assert found.transitions.net[0, HIDDEN, EXPOSED] == pytest.approx(
        found.transitions.shares[0, HIDDEN, EXPOSED] - found.transitions.shares[0, EXPOSED, HIDDEN]
    )
    rates = found.transitions.rates
    assert np.nansum(rates[0], -1)[np.isfinite(rates[0]).any(-1)] == pytest.approx(1.0)


def test_time_between_epochs_counts():
    drawn = fleet(np.random.default_rng(1), 16, 60, np.linspace(0.0, 3.0, 3)[:, None] * np.ones(60))
    slow = type(drawn)(drawn.scores, drawn.inside, drawn.outside, 10.0 * drawn.epochs)
    one, ten = (movement(each, Sampling(0, 20, 19)).speed.estimates for each in (drawn, slow))
    assert [each.value for each in one] == pytest.approx([10.0 * each.value for each in ten])


def test_without_signal_no_transition_no_speed_and_no_record_is_beyond_chance():
    """Of 60 fleets; more than 8 alarms of one kind have probability 0.002 where they come with probability 0.05."""
    alarms = dict.fromkeys(("transitions", "speed", "displacement", "entropy change", "records"), 0)
    for seed in range(60):
        drawn = fleet(np.random.default_rng([seed, 7]), 12, 60, np.zeros((4, 60)))
        found = movement(drawn, Sampling(seed, 20, 39))
        alarms["transitions"] += found.transitions.p_values.min() <= 0.05
        alarms["speed"] += found.speed.p_values.min() <= 0.05
        alarms["displacement"] += found.displacement.p_values.min() <= 0.05
        alarms["entropy change"] += found.entropy_change.p_values.min() <= 0.05
        alarms["records"] += (found.exposure.place >= 0).any()
    assert max(alarms.values()) <= 8, alarms


def test_chance_reads_as_much_as_a_fleet_without_signal_does():
    found = some(3, 16, 300, np.zeros((3, 300)), 50, 49)
    for course in (found.displacement, found.entropy, found.speed):
        for one in course.estimates:
            assert one.value == pytest.approx(one.null, abs=0.25)
    assert found.transitions.shares == pytest.approx(found.transitions.null, abs=0.1)


def test_intervals_cover_new_records_and_new_models():
    """The shift of a record is its own, and models differ in how much they show: true mean speed by simulation."""

    def drawn(seed, models, n):
        generator = np.random.default_rng([seed, models])
        one = fleet(generator, models, n, np.zeros((2, n)))
        shift = generator.exponential(1.5, n) * (1.0 + 0.5 * generator.standard_normal((models, 1)))
        scores = one.scores + np.stack([0.0 * shift, shift]) * one.inside
        return type(one)(scores, one.inside, one.outside, one.epochs)

    truth = np.mean(
        [np.diff((lambda p: p[..., 1] - p[..., 0])(points(drawn(s, 16, 1500))).mean(1))[0] for s in range(40)]
    )
    covered = []
    for seed in range(100, 180):
        one = movement(drawn(seed, 16, 100), Sampling(seed, 200, 1)).speed.estimates[0]
        covered.append(one.lo <= truth <= one.hi)
    assert np.mean(covered) >= 0.88


def test_a_record_is_exposed_from_the_epoch_on_at_which_it_became_so():
    when = np.where(np.arange(120) < 24, np.arange(120) % 4, -1)
    drawn = fleet(np.random.default_rng(5), 32, 120, exposed_from(4, 120, when, size=8.0))
    found = movement(drawn, Sampling(0, 20, 99)).exposure
    np.testing.assert_array_equal(found.place, when)
    np.testing.assert_array_equal(found.epoch, np.where(when < 0, np.nan, when + 1.0))
    assert found.p_values.shape == (4, 120)
    assert np.median(effect(drawn)[3, :24]) == pytest.approx(8.0, rel=0.15)
    assert abs(np.median(effect(drawn)[3, 24:])) < 0.2


def test_who_is_called_a_member_everywhere_is_conspicuous_not_exposed():
    """Scores high with the record and without: no knowledge of membership."""
    drawn = fleet(np.random.default_rng(6), 32, 200, np.zeros((2, 200)))
    scores = drawn.scores + np.where(np.arange(200) < 20, 4.0, 0.0)
    drawn = type(drawn)(scores, drawn.inside, drawn.outside, drawn.epochs)
    assert (quarters(32).place(points(drawn))[:, :20] == CONSPICUOUS).all()
    assert (movement(drawn, Sampling(0, 20, 99)).exposure.place == -1).all()


def test_shuffles_keep_the_models_of_each_record():
    drawn = fleet(np.random.default_rng(0), 10, 30, np.zeros((2, 30)))
    used = np.arange(10)[:, None] != np.arange(30) % 10
    drawn = type(drawn)(drawn.scores, drawn.inside & used, drawn.outside & used, drawn.epochs)
    others = list(shuffled(drawn, Sampling(0, permutations=3)))
    for other in others:
        np.testing.assert_array_equal(other.inside.sum(0), drawn.inside.sum(0))
        np.testing.assert_array_equal(other.inside | other.outside, drawn.inside | drawn.outside)
    assert (others[0].inside != others[1].inside).any()


def test_familywise_p_values_count_the_largest_of_each_shuffle():
    chance = np.array([[0.0, 5.0], [1.0, 4.0], [2.0, 6.0], [1.0, 5.0]])
    p_values = familywise(np.array([1.0, 50.0]), chance)
    assert p_values[1] == 1 / 5
    assert p_values[0] > 0.5
    assert familywise(np.array([3.0]), np.full((19, 1), 3.0)).tolist() == [1.0]


def test_a_measure_of_ones_own_and_too_few_models():
    drawn = fleet(np.random.default_rng(0), 12, 50, np.full((2, 50), 2.0))
    mean_tpr = Measure(lambda at: at[..., 1].T)
    found = resampled(drawn, {"tpr": mean_tpr}, Sampling(0, 30, 9)).numbers["tpr"]
    assert found.values == pytest.approx(points(drawn)[..., 1].mean(1))
    assert found.draws.shape == (30, 2)
    assert found.chance.shape == (9, 2)
    with pytest.raises(ValueError, match="need 4 with and without each record, one has 3"):
        resampled(fleet(np.random.default_rng(0), 6, 50, np.zeros((2, 50))), {}, Sampling(0))
    with pytest.raises(ValueError, match="2 epochs"):
        movement(drawn.until(0), Sampling(0))


def test_scores_made_with_memberships_are_made_anew_for_each_shuffle():
    """A score that takes the difference of a record's sides in the very fleet for knowledge: it is none."""
    alarms, advantage = {"kept": 0, "made anew": 0}, Measure(lambda at: (at[..., 1] - at[..., 0]).T)
    for seed in range(25):
        drawn = fleet(np.random.default_rng([seed, 9]), 12, 60, np.zeros((3, 60)))

        def scored(inside, outside, raw=drawn.scores):
            side = [np.where(mask, raw, 0.0).sum(1) / mask.sum(0) for mask in (inside, outside)]
            return raw * (side[0] - side[1])[:, None]

        known = type(drawn)(scored(drawn.inside, drawn.outside), drawn.inside, drawn.outside, drawn.epochs)
        for name, rescore in (("kept", None), ("made anew", scored)):
            study = resampled(known, {"": advantage}, Sampling(seed, 20, 39), rescore=rescore)
            alarms[name] += study.numbers[""].p_values().min() <= 0.05
    assert alarms["kept"] > 15
    assert alarms["made anew"] <= 4


def test_intervals_end_where_numbers_do():
    """Models that differ in level leave wide intervals: a distance is still not below 0, nor an entropy."""
    generator = np.random.default_rng(0)
    drawn = fleet(generator, 8, 60, np.zeros((2, 60)))
    drawn = replace(drawn, scores=drawn.scores + 3.0 * generator.standard_normal((2, 8, 1)))
    found = movement(drawn, Sampling(0, 200, 2))
    bits = math.log2(even(8).count)
    ends = {
        "displacement": (0.0, math.sqrt(2.0)),
        "entropy": (0.0, bits),
        "entropy_change": (-bits, bits),
        "exposed": (0, 1),
    }
    for name, (least, most) in ends.items():
        for one in getattr(found, name).estimates:
            assert least <= one.lo <= one.value <= one.hi <= most
    beyond = [np.quantile(one.draws, 0.025) for one in (found.displacement.estimates[0], found.entropy.estimates[0])]
    assert max(beyond) < -0.01  # of the draws alone the ends would be there
