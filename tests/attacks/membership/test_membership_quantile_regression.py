"""Thresholds of records' own, learned from records that are no members: known answers."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from ptaudit.attacks.membership.quantile_regression import FEWEST
from ptaudit.attacks.membership.registry import ATTACKS
from ptaudit.attacks.membership.signals import Signals
from ptaudit.stats.roc import auc, tpr_at_fpr

ATTACK = ATTACKS["quantile-regression"]
SHIFT = 2.0


def heteroscedastic(n, generator, shift=SHIFT):
    """Features tell mean and spread of the confidence: members are `shift` of their own spreads above.

    Returns:
        Signals, who is a member, and the exact normal score of each record.
    """
    seen = generator.uniform(-1.0, 1.0, (n, 4))
    mean, spread = 3.0 * seen[:, 0], np.exp(1.5 * seen[:, 1])
    member = generator.random(n) < 0.5
    score = generator.standard_normal(n) + shift * member
    known = ~member & (np.arange(n) % 2 == 0)
    return Signals(mean + spread * score, features=seen, known_outside=known), member, score


def reported(signals, member):
    """Which members and which others were not learned from."""
    odd = np.arange(signals.records) % 2 == 1
    return member & odd, ~member & odd


def test_where_records_differ_it_is_near_the_exact_conditional_test_and_one_threshold_is_far():
    """At a rate of 5 % the exact test finds Phi(2 - 1.64) = 0.64."""
    signals, member, exact = heteroscedastic(6000, np.random.default_rng(0))
    inside, outside = reported(signals, member)
    found = ATTACK(signals)
    best = stats.norm.sf(stats.norm.isf(0.05) - SHIFT)
    assert tpr_at_fpr(exact[inside], exact[outside], 0.05) == pytest.approx(best, abs=0.04)
    assert tpr_at_fpr(found[inside], found[outside], 0.05) > best - 0.12
    assert tpr_at_fpr(signals.confidence[inside], signals.confidence[outside], 0.05) < best - 0.35
    assert auc(found[inside], found[outside]) > auc(signals.confidence[inside], signals.confidence[outside]) + 0.1


def test_its_false_positive_rate_is_that_of_every_kind_of_record():
    """Of others above the 95 % quantile: within a group of like records, too, where one threshold has 0 or 20 %."""
    signals, member, _ = heteroscedastic(6000, np.random.default_rng(1))
    _, outside = reported(signals, member)
    found, wide = ATTACK(signals), signals.features[:, 1] > 0.5
    calm = signals.features[:, 1] < -0.5
    assert np.std(found[outside]) == pytest.approx(1.0, abs=0.1)
    for group in (wide, calm):
        assert (found[outside & group] > stats.norm.isf(0.05)).mean() == pytest.approx(0.05, abs=0.03)
    pooled = np.quantile(signals.confidence[outside], 0.95)
    assert (signals.confidence[outside & calm] > pooled).mean() < 0.01
    assert (signals.confidence[outside & wide] > pooled).mean() > 0.1


def test_features_that_tell_nothing_leave_one_threshold_for_all():
    generator = np.random.default_rng(2)
    known = np.arange(300) % 2 == 0
    signals = Signals(generator.standard_normal(300), features=generator.standard_normal((300, 5)), known_outside=known)
    order = stats.spearmanr(ATTACK(signals), signals.confidence).statistic
    assert order > 0.95


def test_without_a_leak_it_finds_none():
    """12 data sets of 150 reported records each: AUC one half on average, spread as of independent records."""
    areas = []
    for seed in range(12):
        signals, member, _ = heteroscedastic(300, np.random.default_rng([3, seed]), shift=0.0)
        inside, outside = reported(signals, member)
        found = ATTACK(signals)
        areas.append(auc(found[inside], found[outside]))
    error = np.sqrt(1 / (12 * 75) * 2)
    assert np.mean(areas) == pytest.approx(0.5, abs=4 * error / np.sqrt(12))
    assert np.std(areas) < 2 * error


def test_it_looks_at_no_other_records_than_those_known():
    """Confidences of all others may be anything: the distribution that they are held against stays."""
    signals, _, _ = heteroscedastic(400, np.random.default_rng(4))
    moved = replace(signals, confidence=signals.confidence + np.where(signals.known_outside, 0.0, 100.0))
    spread = 100.0 / (ATTACK(moved) - ATTACK(signals))[~signals.known_outside]
    assert (spread > 0.0).all()
    np.testing.assert_allclose(ATTACK(moved)[signals.known_outside], ATTACK(signals)[signals.known_outside])


@pytest.mark.parametrize("size", [0.0, 1e-200, 1e9])
def test_extreme_confidences_give_finite_scores(size):
    signals, _, _ = heteroscedastic(60, np.random.default_rng(6))
    with np.errstate(all="raise", under="ignore"):
        assert np.isfinite(ATTACK(replace(signals, confidence=size * np.sign(signals.confidence)))).all()


def test_what_is_missing_is_said():
    signals, _, _ = heteroscedastic(40, np.random.default_rng(5))
    bare = Signals(signals.confidence)
    assert ATTACK.missing(bare, None) == "needs inputs as numbers; records known not to be members"
    few = replace(signals, known_outside=np.arange(len(signals.confidence)) < FEWEST - 1)
    with pytest.raises(ValueError, match="needs 10 records that are known not to be members, there are 9"):
        ATTACK(few)
    with pytest.raises(ValueError, match=r"features \(39, 4\)"):
        Signals(signals.confidence, features=signals.features[:39])
