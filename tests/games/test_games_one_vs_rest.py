"""AUC and low-FPR power of secrets with more than two values: known answers, constant answers, coverage, edges."""

import numpy as np
import pytest
import torch
from inference_truth import observed
from scipy.stats import norm
from sklearn.metrics import roc_auc_score

from ptaudit.games.attribute import latent as attribute
from ptaudit.games.common.batches import Answers, Batches
from ptaudit.games.common.scoring import score
from ptaudit.stats.roc import auc
from ptaudit.views import View
from ptaudit.views.observation import TokenObservation

RACE = (0.855, 0.096, 0.031, 0.01, 0.008)
SKEWED = (0.5, 0.3, 0.2)


def answered(log_q, secret, prior, start=0):
    """Answers about single records."""
    unit = torch.arange(start, start + len(secret))
    batches = Batches(unit[None, :, None], secret, prior.expand(len(secret), -1), unit)
    return Answers(log_q[None], log_q[None], secret.roll(1), batches)


def drawn(prior, games, generator):
    prior = torch.tensor(prior, dtype=torch.float64)
    return prior, torch.multinomial(prior, games, replacement=True, generator=generator)


def exact(prior, distance, games, seed, start=0):
    """The exact posterior of unit Gaussians, each value moved along its own axis; read as if distance were 1."""
    generator = torch.Generator().manual_seed(seed)
    prior, secret = drawn(prior, games, generator)
    seen = torch.randn(games, len(prior), generator=generator, dtype=torch.float64)
    seen[torch.arange(games), secret] += distance
    return answered(((distance or 1.0) * seen + prior.log()).log_softmax(1), secret, prior, start)


def halves(prior, distance, games, seed):
    return [exact(prior, distance, games // 2, 2 * seed + i, i * games // 2) for i in range(2)]


def known(prior, distance, fpr=0.01):
    """AUC and TPR of the exact posterior, from many games."""
    many = exact(prior, distance, 400_000, 10**6)
    ratio, secret = (many.log_q[0] - many.batches.prior.log()).numpy(), many.batches.secret.numpy()
    found = np.zeros(2)
    for value, share in enumerate(prior):
        one, two = ratio[secret == value, value], ratio[secret != value, value]
        found += share * np.array([auc(one, two), (one > np.quantile(two, 1 - fpr)).mean()])
    return found


@pytest.mark.parametrize("prior", [RACE, SKEWED])
@pytest.mark.parametrize("answer", ["most frequent", "uniform", "prior"])
def test_who_says_the_same_of_every_game_has_one_half(prior, answer):
    generator = torch.Generator().manual_seed(0)
    parts = []
    for half in range(2):
        share, secret = drawn(prior, 2000, generator)
        first = torch.eye(len(share), dtype=torch.float64)[0]
        q = {"most frequent": (share + first) / 2, "uniform": torch.full_like(share, 1 / len(share)), "prior": share}
        parts.append(answered(q[answer].log().expand(2000, -1), secret, share, 2000 * half))
    found = score(parts, 4000, 0, clip=False)
    area = found["auc"][0]
    assert (area.value, area.lo, area.hi, area.null) == pytest.approx((0.5, 0.5, 0.5, 0.5), abs=1e-9)
    power = found["tpr_at_fpr_0.01"][0]
    assert power.conclusive
    assert power.lo <= 0.01
    assert power.value == 0.0


def test_three_values_by_hand():
    """Each value's own score in games with it against those without, weighted by the prior."""
    q = torch.tensor([[0.6, 0.3, 0.1], [0.2, 0.5, 0.3], [0.5, 0.1, 0.4], [0.3, 0.4, 0.3]], dtype=torch.float64)
    q, secret = q.repeat(5, 1), torch.tensor([0, 1, 2, 0]).repeat(5)
    found = score([answered(q.log(), secret, torch.tensor(SKEWED, dtype=torch.float64))], 20, 0, clip=False)
    # Value 0: 0.6, 0.3 against 0.2, 0.5. Value 1: 0.5 against 0.3, 0.1, 0.4. Value 2: 0.4 against 0.1, 0.3, 0.3.
    assert found["auc"][0].value == pytest.approx(0.5 * 3 / 4 + 0.3 + 0.2)


def test_equal_priors_are_one_against_the_rest_of_scikit_learn():
    one = exact((1 / 3, 1 / 3, 1 / 3), 1.0, 3000, 1)
    expected = roc_auc_score(one.batches.secret, one.log_q[0].exp(), multi_class="ovr", average="macro")
    assert score([one], 3000, 0)["auc"][0].value == pytest.approx(expected, abs=1e-12)


def test_three_values_have_the_known_area_and_power():
    area, power = known(SKEWED, 1.5)
    found = score(halves(SKEWED, 1.5, 4000, 3), 4000, 0)
    for name, truth in (("auc", area), ("tpr_at_fpr_0.01", power)):
        assert found[name][0].lo < truth < found[name][0].hi
        assert found[name][0].hi - found[name][0].lo < 0.2
    assert 0.5 * (norm.cdf(1.5) + 0.5) < area < 1.0


def test_a_value_of_few_targets_is_left_out():
    one = exact(SKEWED, 1.5, 1000, 4)
    secret = one.batches.secret
    keep = (secret != 2) | ((secret == 2).cumsum(0) <= 4)  # four with the rarest value
    some = answered(one.log_q[0][keep], secret[keep], one.batches.prior[0])
    two = score([some], 1000, 0)["auc"][0]
    ratio = some.log_q[0].numpy()
    areas = [roc_auc_score(some.batches.secret == v, ratio[:, v]) for v in range(2)]
    assert two.value == pytest.approx((0.5 * areas[0] + 0.3 * areas[1]) / 0.8)
    none = score([answered(one.log_q[0][:9], torch.arange(9) % 3, one.batches.prior[0])], 9, 0)["auc"][0]
    assert none.status == (
        "inconclusive: needs games with 5 targets with and without a value of the secret in both halves"
    )


def test_the_power_names_the_games_it_needs():
    found = score(halves(RACE, 1.0, 2000, 5), 2000, 0)["tpr_at_fpr_0.01"][0]
    assert found.status.startswith("inconclusive: FPR 0.01 needs 500 games without each value, there are 2")


def held(prior, distance, games, runs):
    """Share of intervals of AUC and TPR that hold the truth, and that lie above chance."""
    truth, found = known(prior, distance), []
    for run in range(runs):
        both = score(halves(prior, distance, games, run), games, run, clip=False)
        both = [both[name][0] for name in ("auc", "tpr_at_fpr_0.01")]
        found.append([e.lo <= t <= e.hi for e, t in zip(both, truth)] + [both[0].lo > 0.5, both[1].lo > 0.01])
    return np.mean(found, 0)


def test_intervals_hold_the_truth_and_nothing_raises_no_alarm():
    assert held(SKEWED, 1.5, 2000, 30)[:2].min() >= 0.84
    assert held(SKEWED, 0.0, 2000, 30)[2:].max() <= 0.11


@pytest.mark.slow
@pytest.mark.parametrize(("prior", "games"), [(SKEWED, 2000), (RACE, 4000), ((1 / 16,) * 16, 1000)])
def test_intervals_hold_the_truth_in_many_runs(prior, games):
    assert held(prior, 1.5, games, 300)[:2].min() >= 0.91
    assert held(prior, 0.0, games, 300)[2:].max() <= 0.045


def alarms(runs):
    """How often adversaries who adapt to a view that shows nothing seem to know a skewed attribute."""
    prior, found = (0.855, 0.096, 0.049), []
    for run in range(runs):
        generator = torch.Generator().manual_seed(run)
        secret = drawn(prior, 1000, generator)[1]
        observation = TokenObservation(torch.randn(1, 1000, 8, generator=generator, dtype=torch.float64))
        play = attribute.measure(secret, observed(View("v"), observation, seed=run), ["linear", "mlp"])
        found.append([[e["auc"][0].lo > 0.5, e["auc"][0].value] for e in play.values()])
    rate, value = np.mean(found, 0).T
    return rate.max(), np.abs(value - 0.5).max()


def test_adaptive_adversaries_learn_nothing_from_nothing():
    rate, bias = alarms(8)
    assert rate <= 0.25
    assert bias < 0.04


@pytest.mark.slow
def test_adaptive_adversaries_learn_nothing_from_nothing_in_many_runs():
    rate, bias = alarms(80)
    assert rate <= 0.075
    assert bias < 0.015
