"""True-positive rates at a false-positive rate that is every record's own: known answers, chance, too few models."""

import sys
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import nct, norm, t

sys.path.insert(0, str(Path(__file__).parents[1] / "attacks" / "membership"))

from population import halves, one, population

from ptaudit.attacks.membership.registry import ATTACKS
from ptaudit.attacks.membership.signals import references
from ptaudit.games.membership.fleet_rates import FleetAttack, models_needed, rates_of_each_record, rates_of_fleet
from ptaudit.games.membership.info import OF_EACH_RECORD, likelihood_ratios
from ptaudit.stats.roc import tpr_at_fpr

NAME = OF_EACH_RECORD[0]


def audited(shift, models=64, n=2000, seed=0, attack="lira-offline"):
    """The rates of an attack on a model that was trained on the first half of 2n records."""
    generator = np.random.default_rng(seed)
    records = population(2 * n, generator, shift, spreads=0.7)
    included = halves(models, 2 * n, generator)
    there = references(records.signals(included, generator), included)
    target = one(records.signals((np.arange(2 * n) < n)[None], generator))
    played = FleetAttack.of(ATTACKS[attack], target, there)
    return rates_of_each_record(played, n, seed), played.target


def test_only_likelihood_ratios_have_them():
    assert set(likelihood_ratios()) == {name for name in ATTACKS if name.startswith(("lira", "bavaria"))}


def test_records_of_different_scale_and_strength_each_have_a_rate_of_their_own():
    """A member lies `shift` spreads higher: a t statistic of its 32 models without it passes its own threshold with a
    power that is known. One threshold for all is used up by the records of the largest spread."""
    shift = np.tile([0.5, 1.0, 2.0, 3.0], 1000)
    power = nct.sf(t.isf(0.01, 31), 31, shift[:2000] / np.sqrt(1.0 + 1.0 / 32)).mean()
    found, pooled = zip(*(audited(shift, seed=seed, attack="lira-offline-global") for seed in range(6)))
    own = [one[NAME] for one in found]
    assert sum(one.lo <= power <= one.hi for one in own) >= 5
    assert np.mean([one.value for one in own]) == pytest.approx(power, abs=0.02)
    assert np.mean([tpr_at_fpr(scores[:2000], scores[2000:], 0.01) for scores in pooled]) < power - 0.1
    assert (own[0].null, own[0].ceiling, own[0].n) == (0.01, 1.0, 4000)
    assert found[0][OF_EACH_RECORD[1]].status == "inconclusive: FPR 0.001 needs 5000 non-members, there are 2000"


@pytest.mark.parametrize("attack", ["lira-online", "lira-offline", "bavaria-online"])
def test_no_signal_is_the_rate_itself_even_with_few_models(attack):
    found = [audited(0.0, models=10, n=600, seed=seed, attack=attack)[0][NAME] for seed in range(24)]
    assert sum(one.lo <= 0.01 <= one.hi for one in found) >= 21
    assert np.mean([one.value for one in found]) < 0.02


def test_too_few_models_are_inconclusive_with_the_number_needed():
    few, _ = audited(2.0, models=8, n=600)
    assert few[NAME].status == "inconclusive: needs 10 reference models, there are 8"
    assert few[OF_EACH_RECORD[1]].status == "inconclusive: needs 14 reference models, there are 8"
    assert audited(2.0, models=10, n=600)[0][NAME].conclusive
    assert models_needed(ATTACKS["lira-online"], 0.001) == 14


def test_the_fleets_own_rates_are_those_of_another_training():
    """Scores of records of one spread are Gaussian, 1.5 spreads apart: what each of 40 models gives away is known."""
    generator = np.random.default_rng(3)
    records, included = population(800, generator, 1.5), halves(40, 800, generator)
    there = references(records.signals(included, generator), included)
    target = one(records.signals((np.arange(800) < 400)[None], generator))
    found = rates_of_fleet(FleetAttack.of(ATTACKS["lira-online-global"], target, there), 0)
    auc, rate = found["fleet_auc"], found["fleet_tpr_at_fpr_0.01"]
    assert auc.value == pytest.approx(norm.cdf(1.5 / np.sqrt(2.0)), abs=0.02)
    assert auc.lo < auc.value < auc.hi < auc.lo + 0.05
    assert rate.value == pytest.approx(norm.sf(norm.isf(0.01) - 1.5), abs=0.05)
    assert (auc.n, auc.null, auc.ceiling) == (800, 0.5, 1.0)


def test_too_few_models_for_the_fleets_own_rates():
    found = rates_of_fleet(fleet_of_4("lira-online"), 0)
    assert {one.status for one in found.values()} == {"inconclusive: needs 6 reference models, there are 4"}
    assert all(one.conclusive for one in rates_of_fleet(fleet_of_4("rmia-offline"), 0).values())


def fleet_of_4(name):
    generator = np.random.default_rng(0)
    records, included = population(400, generator, 1.0), halves(4, 400, generator)
    there = references(records.signals(included, generator), included)
    return FleetAttack.of(ATTACKS[name], one(records.signals((np.arange(400) < 200)[None], generator)), there)


def test_what_fits_a_model_for_each_target_is_not_repeated_in_every_model():
    generator = np.random.default_rng(0)
    records, included = population(400, generator, 1.0), halves(8, 400, generator)
    there = references(records.signals(included, generator), included)
    target = one(records.signals((np.arange(400) < 200)[None], generator))
    assert FleetAttack.of(ATTACKS["shadow-classifier"], target, there).fleet is None
