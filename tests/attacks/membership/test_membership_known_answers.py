"""Populations whose right answer is known."""

from dataclasses import replace

import numpy as np
import pytest
from population import Population, halves, population, signals_of, with_gradients
from scipy import stats

from ptaudit.attacks.membership import rmia
from ptaudit.attacks.membership.fleet import fleet_scores
from ptaudit.attacks.membership.registry import ATTACKS
from ptaudit.attacks.membership.rmia import fitted_a
from ptaudit.attacks.membership.signals import References, from_losses, leave_one_out, references
from ptaudit.stats.per_record import standardised
from ptaudit.stats.roc import auc, auc_estimate, tpr_at_fpr, tpr_at_fpr_estimate
from ptaudit.stats.two_way import FleetScores
from ptaudit.stats.two_way import auc_estimate as fleet_auc

EVERY = pytest.mark.parametrize("name", list(ATTACKS))
GAUSSIAN = [name for name in ATTACKS if name.startswith(("lira", "bavaria"))]
TIED = ("attack-r", "privacy-risk")
"""Attacks with few different scores: at a low false-positive rate nobody may pass."""
WITH_REFERENCES = [name for name, attack in ATTACKS.items() if attack.outside]


def attacked(name, people, models, seed=0):
    """Scores of members and of others in one target, with `models` references."""
    generator = np.random.default_rng(seed)
    n = len(people.mean)
    included = halves(models, n, generator)
    known = references(with_gradients(people.signals(included, generator), generator), included)
    member = generator.random(n) < 0.5
    target = leaky(with_gradients(people.signals(member[None], generator), generator).model(0), member, people)
    scores = ATTACKS[name](target, known)
    return scores[member], scores[~member]


def leaky(target, member, people):
    """Gradients and traces that leak as much as the confidences do."""
    gap = member * people.shift
    return replace(
        target,
        gradient_norms=target.gradient_norms * np.exp(-gap),
        update_products=target.update_products - gap,
        boundary_distances=target.boundary_distances + gap,
        loss_trace=target.loss_trace * np.exp(gap),
    )


@pytest.mark.parametrize("name", GAUSSIAN)
def test_with_many_references_gaussian_scores_have_the_analytic_roc(name):
    people = population(4000, np.random.default_rng(1), shift=1.5)
    inside, outside = attacked(name, people, 200)
    assert auc(inside, outside) == pytest.approx(stats.norm.cdf(1.5 / np.sqrt(2.0)), abs=0.015)
    assert tpr_at_fpr(inside, outside, 0.05) == pytest.approx(stats.norm.sf(stats.norm.isf(0.05) - 1.5), abs=0.04)


@EVERY
def test_members_score_higher_and_a_flipped_attack_below_one_half(name):
    inside, outside = attacked(name, population(1500, np.random.default_rng(1), shift=2.0, spreads=0.3), 8)
    assert auc_estimate(inside, outside, seed=0).lo > 0.55
    assert auc_estimate(-inside, -outside, seed=0).hi < 0.45


@EVERY
def test_noise_reads_one_half_and_its_own_false_positive_rate(name):
    inside, outside = attacked(name, population(1500, np.random.default_rng(2), shift=0.0, spreads=0.3), 8, seed=1)
    found, rate = auc_estimate(inside, outside, seed=0), tpr_at_fpr_estimate(inside, outside, 0.05, seed=0)
    assert found.lo <= 0.5 <= found.hi
    assert rate.lo <= 0.05
    assert rate.hi >= 0.05 or name in TIED


@EVERY
def test_memorised_records_read_near_1(name):
    """Random labels: unknown to every model that was not told, certain to the one that was."""
    people = Population(np.full(800, -3.0), np.ones(800), np.full(800, 9.0))
    ceiling = 0.9 if name == "attack-r" else 1.0  # 1 of 5 others is above its 4 references, too
    assert auc(*attacked(name, people, 8)) == pytest.approx(ceiling, abs=0.02)


def test_with_4_references_rmia_is_above_lira_and_with_64_they_agree():
    people = population(1500, np.random.default_rng(0), shift=1.5, difficulty=1.5, spreads=0.3)
    hard, names = replace(people, mean=people.mean - 4.0), ("rmia-online", "lira-online")
    few, many = (
        {name: np.mean([auc(*attacked(name, hard, models, seed)) for seed in (0, 1)]) for name in names}
        for models in (4, 64)
    )
    assert few["rmia-online"] > few["lira-online"] + 0.1
    assert many["rmia-online"] == pytest.approx(many["lira-online"], abs=0.03)


@pytest.mark.parametrize("a", [0.0, 0.3, 1.0])
def test_rmia_offline_finds_how_much_training_on_a_record_changes(a):
    outside = np.linspace(0.1, 0.9, 50)
    probability = np.stack([outside] * 2 + [a * outside + 1.0 - a] * 2)
    included = np.repeat([False, True], 2)[:, None] & np.ones(50, dtype=bool)
    assert fitted_a(references(from_losses(-np.log(probability)), included)) == pytest.approx(a, abs=1e-6)
    assert fitted_a(references(from_losses(-np.log(probability[:2])), included[:2])) == 0.3


@pytest.mark.parametrize("spreads", [0.0, 0.5])
def test_bavaria_with_8_references_is_near_lira_with_64(spreads):
    people = population(2000, np.random.default_rng(3), shift=2.0, spreads=spreads)
    rates = {}
    for name, models in (("bavaria-online", 8), ("lira-online", 8), ("lira-online", 64)):
        rates[name, models] = np.mean([tpr_at_fpr(*attacked(name, people, models, seed), 0.05) for seed in range(3)])
    gap = rates["lira-online", 64] - rates["lira-online", 8]
    assert rates["lira-online", 64] - rates["bavaria-online", 8] < gap / 2
    assert rates["bavaria-online", 8] > rates["lira-online", 8] + 0.05


@pytest.mark.parametrize(("name", "seen", "most"), [("lira-online", 0.28, 0.495), ("lira-online-global", 0.20, 0.5)])
def test_few_models_alone_do_not_make_a_leak(name, seen, most):
    """16 models and no signal: the own score in the fit is a leak, leaving it out alone turns it round."""
    generator = np.random.default_rng(0)
    people, included = population(1500, generator, shift=0.0), halves(16, 1500, generator)
    fleet = references(people.signals(included, generator), included)
    attack = ATTACKS[name]
    own = np.stack([attack(fleet.signals.model(t), fleet) for t in range(16)])
    alone = np.stack([attack(fleet.signals.model(t), without(fleet, t)) for t in range(16)])
    assert tpr(own, included, 0.1) == pytest.approx(seen, abs=0.03)
    assert auc(alone[included], alone[~included]) < most
    scores = fleet_scores(attack, fleet)
    assert tpr(scores, included, 0.1) == pytest.approx(0.10, abs=0.01)
    found = fleet_auc(FleetScores(scores, included), seed=0, draws=100)
    assert found.lo < 0.5 < found.hi


def without(fleet, target):
    others = np.arange(len(fleet.inside))[:, None] != target
    return References(fleet.signals, fleet.inside & others, fleet.outside & others)


def tpr(scores, included, fpr):
    return tpr_at_fpr(scores[included], scores[~included], fpr)


@pytest.mark.parametrize("name", WITH_REFERENCES)
def test_a_fleet_without_signal_reads_one_half_in_every_attack(name):
    """Bounds are 4 standard errors of independent pairs."""
    generator, models = np.random.default_rng(5), max(8, ATTACKS[name].models(left_out=1))
    people, included = population(600, generator, shift=0.0, spreads=0.5), halves(models, 600, generator)
    scores = fleet_scores(ATTACKS[name], references(people.signals(included, generator), included))
    assert auc(scores[included], scores[~included]) == pytest.approx(0.5, abs=4 * np.sqrt(1 / (12 * 2400) * 2))
    if name not in TIED:
        assert tpr(scores, included, 0.1) == pytest.approx(0.1, abs=4 * np.sqrt(0.1 * 0.9 / 2400 * 2))


def test_a_target_and_its_partner_are_no_references():
    generator = np.random.default_rng(0)
    included = halves(6, 50, generator)
    fleet = references(signals_of(generator.standard_normal((6, 50))), included)
    for target, (signals, others) in enumerate(leave_one_out(fleet)):
        np.testing.assert_array_equal(signals.confidence, fleet.signals.confidence[target])
        assert not (others.inside | others.outside)[target].any()
        assert (others.inside.sum(0) == 2).all()
        assert (others.outside.sum(0) == 2).all()
        assert (others.inside <= included).all()


def test_calibrated_scores_have_everybodys_false_positive_rate():
    """Of losses of records of different difficulty a pooled threshold is passed by the easy ones alone.

    Calibrated ones leave what the tails of losses differ between records; those of confidences do not.
    """
    generator = np.random.default_rng(0)
    people, included = population(150, generator, shift=1.0), halves(128, 150, generator)
    fleet = references(people.signals(included, generator), included)
    member = np.arange(150) % 2 == 0
    targets = people.signals(np.broadcast_to(member, (300, 150)), generator)
    pooled = np.stack([ATTACKS["loss"](targets.model(t)) for t in range(300)])
    known = fleet_scores(ATTACKS["loss"], fleet)
    calibrated = np.stack([standardised(scores, known, fleet.outside) for scores in pooled])
    confidences = np.stack([standardised(row, fleet.signals.confidence, fleet.outside) for row in targets.confidence])
    for scores, low, high in ((pooled, 0.15, 0.3), (calibrated, 0.06, 0.1), (confidences, 0.0, 0.05)):
        passed = scores[:, ~member] > np.quantile(scores[:, ~member], 0.9)
        assert low < passed.mean(0).std() < high


def test_rates_of_rmia_in_one_model_are_those_of_any_population():
    """The share of other records that are beaten grows with a record's own ratio, whoever the others are."""
    generator = np.random.default_rng(0)
    people, included = population(300, generator, shift=1.0), halves(4, 300, generator)
    fleet = references(people.signals(included, generator), included)
    member = np.arange(300) % 2 == 0
    target = people.signals(member[None], generator).model(0)
    log_p = rmia._log_mean(fleet.signals.losses, fleet.outside)
    ratio = -target.losses - log_p
    found = rmia._dominance(target, log_p, rmia.GAMMA)
    for others in (ratio[:20], generator.standard_normal(1000)):
        share = (others[None, :] + np.log(rmia.GAMMA) <= ratio[:, None]).mean(1)
        # What is strictly apart by the share is in the same order by the score.
        above = share[:, None] > share[None, :]
        assert above.any()
        assert (found[:, None] > found[None, :])[above].all()
