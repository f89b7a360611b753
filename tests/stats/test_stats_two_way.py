import numpy as np
import pytest
from scipy import stats

from ptaudit.stats.bootstrap import resample_weights
from ptaudit.stats.roc import auc, tpr_at_fpr
from ptaudit.stats.two_way import (
    FleetScores,
    _true_positive_rates,
    auc_estimate,
    tpr_at_fpr_estimate,
)


def fleet(generator, models, n, shift=1.0, of_models=0.0, of_records=0.0):
    """Scores whose shift differs between models and between records; the true AUC is that of the mean shift, nearly."""
    included = generator.permuted(np.broadcast_to(np.arange(models)[:, None] < models // 2, (models, n)), axis=0)
    shifts = shift + of_models * generator.standard_normal((models, 1)) + of_records * generator.standard_normal(n)
    return FleetScores(generator.standard_normal((models, n)) + shifts * included, included)


def test_values_are_those_of_all_pairs():
    scores = fleet(np.random.default_rng(0), 6, 200)
    assert auc_estimate(scores, seed=0, draws=20).value == auc(scores.inside, scores.outside)
    assert tpr_at_fpr_estimate(scores, 0.05, seed=0, draws=20).value == tpr_at_fpr(scores.inside, scores.outside, 0.05)


def test_draws_are_the_numbers_of_resampled_records_with_all_their_models():
    """Of one model, where they are of records alone; the AUC's are those of its first-order expansion."""
    generator = np.random.default_rng(0)
    member = generator.random((1, 400)) < 0.5
    scores = FleetScores((generator.standard_normal((1, 400)) + member).round(1), member)
    weights = resample_weights(400, 30, 0)
    rates, areas = tpr_at_fpr_estimate(scores, 0.05, seed=0, draws=30), auc_estimate(scores, seed=0, draws=30)
    for b in range(30):
        chosen = np.repeat(np.arange(400), np.round(weights[b] * 400).astype(int))
        inside, outside = scores.scores[:, chosen][member[:, chosen]], scores.scores[:, chosen][~member[:, chosen]]
        assert rates.draws[b] == pytest.approx(tpr_at_fpr(inside, outside, 0.05))
        assert areas.draws[b] == pytest.approx(auc(inside, outside), abs=0.003)


@pytest.mark.parametrize("fpr", [0.0, 0.03, 0.4])
def test_the_highest_pairs_suffice_for_every_draw_of_models(fpr):
    scores = fleet(np.random.default_rng(0), 5, 80)
    weights = resample_weights(5, 40, 0)
    units = np.nonzero(scores.included)[0], np.nonzero(~scores.included)[0]
    found = _true_positive_rates((scores.inside, scores.outside), units, weights, fpr)
    for b in range(40):
        chosen = np.repeat(np.arange(5), np.round(weights[b] * 5).astype(int))
        some = FleetScores(scores.scores[chosen], scores.included[chosen])
        assert found[b] == pytest.approx(tpr_at_fpr(some.inside, some.outside, fpr))


@pytest.mark.parametrize(
    ("models", "of_models", "of_records"), [(4, 0.5, 0.0), (12, 0.5, 0.0), (12, 0.0, 1.0), (8, 0.3, 0.7), (1, 0.0, 0.0)]
)
def test_intervals_cover_new_models_and_new_records(models, of_models, of_records):
    generator = np.random.default_rng(models)
    spread = np.sqrt(2.0 + of_models**2 + of_records**2)
    truth = stats.norm.cdf(1.0 / spread)
    covered = []
    for _ in range(100):
        drawn = fleet(generator, models, 120, of_models=of_models, of_records=of_records)
        if models == 1:
            member = generator.random((1, 120)) < 0.5
            drawn = FleetScores(generator.standard_normal((1, 120)) + member, member)
        found = auc_estimate(drawn, seed=0, draws=200)
        covered.append(found.lo <= truth <= found.hi)
    assert np.mean(covered) >= 0.88


def test_without_signal_every_number_reads_its_null():
    generator = np.random.default_rng(0)
    inside = dict.fromkeys(("auc", "tpr"), 0)
    for _ in range(60):
        drawn = fleet(generator, 8, 150, shift=0.0)
        for name, found, null in (
            ("auc", auc_estimate(drawn, seed=0, draws=200), 0.5),
            ("tpr", tpr_at_fpr_estimate(drawn, 0.05, seed=0, draws=200), 0.05),
        ):
            assert found.null == null
            inside[name] += found.lo <= null <= found.hi
    assert min(inside.values()) >= 53


def test_models_that_differ_widen_the_interval():
    generator = np.random.default_rng(0)
    same, other = (fleet(generator, 6, 300, of_models=size) for size in (0.0, 0.8))
    one, two = (auc_estimate(some, seed=0, draws=300) for some in (same, other))
    assert two.hi - two.lo > 3 * (one.hi - one.lo)


def test_too_few_pairs_for_a_low_rate_say_how_many_are_needed():
    scores = fleet(np.random.default_rng(0), 4, 100)
    short = tpr_at_fpr_estimate(scores, 0.01, seed=0)
    assert short.status == ("inconclusive: FPR 0.01 needs 500 pairs of a model and a record outside it, there are 200")
    zero = tpr_at_fpr_estimate(scores, 0.0, seed=0, draws=100)
    assert (zero.n, zero.null) == (200, 1 / 201)
    assert zero.value == (scores.inside > scores.outside.max()).mean()
    assert zero.lo <= zero.value <= zero.hi


def test_perfect_scores_keep_room_below():
    included = np.random.default_rng(0).random((4, 50)) < 0.5
    scores = FleetScores(included + 0.0, included)
    found = auc_estimate(scores, seed=0)
    assert (found.value, found.lo, found.hi) == (1.0, pytest.approx(1 - 3 / min(included.any(0).sum(), 50)), 1.0)
    assert tpr_at_fpr_estimate(scores, 0.05, seed=0).lo < 0.95


def test_scores_that_cannot_be_judged_are_inconclusive():
    scores = fleet(np.random.default_rng(0), 4, 20)
    broken = FleetScores(np.where(scores.scores > 2.0, np.nan, scores.scores), scores.included)
    alone = scores.included.copy()
    alone[0] = True
    for estimate in (auc_estimate, lambda some, seed: tpr_at_fpr_estimate(some, 0.5, seed=seed)):
        assert "not numbers" in estimate(broken, seed=0).status
        assert "a model has no members, or no non-members" in estimate(FleetScores(scores.scores, alone), seed=0).status
        few = FleetScores(scores.scores[:, :19], scores.included[:, :19])
        assert "needs 20 records that are members, and as many that are not" in estimate(few, seed=0).status
    with pytest.raises(ValueError, match="not of one"):
        FleetScores(scores.scores, scores.included[:2])
