"""A membership attack of somebody else's: one function and a line in the registry."""

import sys
from dataclasses import replace

import numpy as np
import pytest
from population import halves, population, signals_of, with_gradients

from ptaudit.attacks.membership.fleet import fleet_scores
from ptaudit.attacks.membership.registry import ATTACKS, BOTH, FREE, SIGNALS, WITHOUT, MembershipAttack
from ptaudit.attacks.membership.signals import References, Signals, references
from ptaudit.stats.two_way import FleetScores, auc_estimate

MODULE = '''
def above_the_mean(target, references):
    """Confidence above the mean of all reference models."""
    return target.confidence - references.signals.confidence.mean(0)
'''


@pytest.fixture
def mean(tmp_path, monkeypatch):
    (tmp_path / "means.py").write_text(MODULE)
    monkeypatch.syspath_prepend(tmp_path)
    attack = MembershipAttack("means:above_the_mean", "Confidence above the average.", inside=1, outside=1)
    monkeypatch.setitem(ATTACKS, "above-the-mean", attack)
    yield
    sys.modules.pop("means", None)


def fleet(models=6, n=300, shift=2.0):
    generator = np.random.default_rng(0)
    included = halves(models, n, generator)
    return references(population(n, generator, shift).signals(included, generator), included)


def test_a_new_attack_scores_a_fleet(mean):
    known = fleet()
    scores = fleet_scores(ATTACKS["above-the-mean"], known)
    assert scores.shape == (6, 300)
    assert auc_estimate(FleetScores(scores, known.inside), seed=0, draws=50).lo > 0.6
    assert ATTACKS["above-the-mean"].cost == BOTH


@pytest.mark.parametrize("name", list(ATTACKS))
def test_every_attack_says_what_it_does_needs_and_costs(name):
    attack = ATTACKS[name]
    assert attack.says.endswith(".")
    assert set(attack.needs) <= set(SIGNALS) <= set(Signals.__dataclass_fields__)
    assert (attack.cost == FREE) == (attack.outside == 0)
    assert (attack.cost == WITHOUT) == (attack.outside > 0 and attack.inside == 0)
    bare = Signals(np.zeros(3))
    if attack.needs != ("confidence",):
        assert SIGNALS[attack.needs[0]] in attack.missing(bare, None)
    if attack.outside:
        assert attack.cost in attack.missing(bare, None)


@pytest.mark.parametrize("name", list(ATTACKS))
def test_it_knows_how_many_models_are_enough(name):
    attack, generator = ATTACKS[name], np.random.default_rng(0)

    def scores(models):
        known = fleet(models, 20)
        signals = with_gradients(known.signals, generator)
        return fleet_scores(attack, References(signals, known.inside, known.outside))

    enough = attack.models(left_out=1)
    assert np.isfinite(scores(enough)).all()
    if attack.outside:
        with pytest.raises(ValueError, match="there is one with"):
            scores(enough - 2)


def test_all_that_is_missing_is_said_at_once():
    target, known = signals_of(np.zeros(4)), Signals(np.zeros((3, 4)))
    included = np.array([[True, True, True, True], [False, True, True, True], [False, False, False, False]])
    reason = ATTACKS["rmia-online"].missing(Signals(np.zeros(4)), references(known, included))
    assert reason == "needs losses; losses of the reference models"
    short = references(signals_of(np.zeros((3, 4))), included)
    with pytest.raises(ValueError, match="needs 2 models with and 2 without each record, there is one with 1 and 1"):
        ATTACKS["lira-online"](target, short)
    assert ATTACKS["lira-offline"].missing(target, short) == ("needs 2 models without each record, there is one with 1")
    assert ATTACKS["lira-offline"].missing(target, None) == "needs reference models trained without each record"
    assert ATTACKS["attack-r"].missing(target, short) == ""
    one_epoch = Signals(np.zeros(4), loss_trace=np.zeros((1, 4)))
    assert ATTACKS["loss-trace"].missing(one_epoch, None) == "needs losses of 4 epochs, there are 1"


def test_signals_of_a_model_that_diverged_are_said_not_scored():
    known = fleet(6, 20)
    broken = np.where(np.arange(6)[:, None] == 2, np.nan, known.signals.losses)
    others = References(replace(known.signals, losses=broken), known.inside, known.outside)
    assert ATTACKS["attack-r"].missing(known.signals.model(0), others) == (
        "needs losses of the reference models that are finite numbers, 20 are not"
    )
    with pytest.raises(ValueError, match="needs losses that are finite numbers, 20 are not"):
        ATTACKS["loss"](others.signals.model(2))
