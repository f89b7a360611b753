import math

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import roc_auc_score, roc_curve

from ptaudit.stats.bootstrap import resample_weights
from ptaudit.stats.roc import _weighted_tpr, auc, auc_estimate, auc_influence, tpr_at_fpr, tpr_at_fpr_estimate


def tied_scores(generator):
    sizes = generator.integers(2, 40, size=2)
    return generator.integers(1, 9, sizes[0]).astype(float), generator.integers(0, 8, sizes[1]).astype(float)


def test_auc_and_tpr_agree_with_scikit_learn_with_ties():
    generator = np.random.default_rng(1)
    for _ in range(100):
        inside, outside = tied_scores(generator)
        truth, scores = np.r_[np.ones(len(inside)), np.zeros(len(outside))], np.r_[inside, outside]
        assert auc(inside, outside) == pytest.approx(roc_auc_score(truth, scores))
        fpr, tpr, _ = roc_curve(truth, scores, drop_intermediate=False)
        for allowed in (0.0, 0.01, 0.1, 0.3, 0.5, 0.9, 1.0):
            assert tpr_at_fpr(inside, outside, allowed) == pytest.approx(tpr[fpr <= allowed + 1e-12].max())


def test_higher_scores_mean_member():
    low, high = np.arange(10.0), np.arange(10.0) + 100
    assert auc(high, low) == 1.0
    assert auc(low, high) == 0.0
    assert tpr_at_fpr(high, low, 0.0) == 1.0
    assert tpr_at_fpr(low, high, 0.0) == 0.0


def test_a_threshold_never_splits_ties():
    assert tpr_at_fpr(np.array([1.0, 1.0, 2.0]), np.array([1.0, 0.0, 0.0]), 0.2) == pytest.approx(1 / 3)


def test_influence_values_give_delong_variance():
    generator = np.random.default_rng(3)
    inside, outside = generator.normal(1, 1, 40), generator.normal(0, 1, 30)
    members, others = auc_influence(inside, outside)
    wins = (inside[:, None] > outside).astype(float)
    assert np.allclose(members, wins.mean(axis=1))
    assert np.allclose(others, wins.mean(axis=0))


def test_bootstrap_draws_are_the_auc_and_tpr_of_the_resampled_records():
    inside, outside = np.array([0.0, 1, 1, 3, 4, 4]), np.repeat(np.arange(10.0) / 2, 10)
    drawn = auc_estimate(inside, outside, seed=9, draws=50).draws
    rates = tpr_at_fpr_estimate(inside, outside, 0.1, seed=9, draws=50).draws
    weights_in, weights_out = resample_weights(6, 50, 9), resample_weights(100, 50, 9, stream=1)
    for b in range(50):
        one = np.repeat(inside, np.round(weights_in[b] * 6).astype(int))
        other = np.repeat(outside, np.round(weights_out[b] * 100).astype(int))
        assert drawn[b] == pytest.approx(auc(one, other))
        assert rates[b] == pytest.approx(tpr_at_fpr(one, other, 0.1))


@pytest.mark.parametrize(("n", "shift"), [(30, 0.0), (30, 2.5), (100, 1.0), (100, 3.5)])
def test_auc_interval_covers(n, shift):
    generator, truth = np.random.default_rng(n), stats.norm.cdf(shift / math.sqrt(2))
    estimates = [
        auc_estimate(generator.normal(shift, 1, n), generator.normal(0, 1, n), seed=0, draws=2) for _ in range(600)
    ]
    assert np.mean([e.lo <= truth <= e.hi for e in estimates]) >= 0.92
    assert all(0 <= e.lo <= e.value <= e.hi <= 1 for e in estimates)


@pytest.mark.parametrize("shift", [0.0, 1.0, 3.0])
def test_tpr_interval_covers(shift):
    generator, truth = np.random.default_rng(5), stats.norm.sf(stats.norm.isf(0.05) - shift)
    estimates = [
        tpr_at_fpr_estimate(generator.normal(shift, 1, 200), generator.normal(0, 1, 200), 0.05, seed=0, draws=300)
        for _ in range(150)
    ]
    assert np.mean([e.lo <= truth <= e.hi for e in estimates]) >= 0.92


def test_perfect_separation_keeps_the_rule_of_three():
    estimate = auc_estimate(np.arange(20.0) + 50, np.arange(30.0), seed=0)
    assert (estimate.value, estimate.lo, estimate.hi) == pytest.approx((1.0, 1 - 3 / 20, 1.0))
    inverted = auc_estimate(np.arange(30.0), np.arange(20.0) + 50, seed=0)
    assert (inverted.value, inverted.lo, inverted.hi) == pytest.approx((0.0, 0.0, 3 / 20))


def test_constant_scores_are_exactly_one_half():
    estimate = auc_estimate(np.ones(20), np.ones(20), seed=0)
    assert (estimate.value, estimate.lo, estimate.hi) == (0.5, 0.5, 0.5)


def test_low_false_positive_rate_needs_enough_non_members():
    scores = np.random.default_rng(0).normal(size=499)
    short = tpr_at_fpr_estimate(scores, scores, 0.01, seed=0)
    assert short.status == "inconclusive: FPR 0.01 needs 500 non-members, there are 499"
    assert math.isnan(short.value)
    enough = tpr_at_fpr_estimate(scores, np.append(scores, 0.0), 0.01, seed=0)
    assert enough.conclusive
    assert enough.null == 0.01


def test_not_a_number_and_too_few_records_are_inconclusive():
    scores = np.arange(10.0)
    for estimate in (auc_estimate, lambda *a, **k: tpr_at_fpr_estimate(*a, 0.9, **k)):
        assert "not numbers" in estimate(np.append(scores, math.nan), scores, seed=0).status
        assert "there are 1 and 10" in estimate(scores[:1], scores, seed=0).status
    assert auc_estimate(np.append(scores, math.inf), scores, seed=0).conclusive


@pytest.mark.parametrize("fpr", [0.002, 0.01, 0.3, 0.9])
@pytest.mark.parametrize("shift", [0.0, 1.0, 4.0])
def test_looking_at_the_highest_non_members_alone_changes_nothing(fpr, shift):
    """Every resample against a plain reading of its ROC curve; some weights leave the whole top out."""
    generator = np.random.default_rng(3)
    inside, outside = generator.standard_normal(80).round(1) + shift, generator.standard_normal(1500).round(2)
    weights_in, weights_out = resample_weights(80, 20, 0).T, resample_weights(1500, 20, 0, stream=1).T.copy()
    weights_out[np.argsort(-outside)[:300], 0] = 0.0
    found = _weighted_tpr(inside, outside, fpr, weights_in, weights_out)
    for b in range(20):
        rates = [(weights_out[outside > v, b].sum(), weights_in[inside > v, b].sum()) for v in np.unique(outside)]
        assert found[b] == pytest.approx(max(t for f, t in rates if f <= fpr + 1e-12), abs=1e-9)
