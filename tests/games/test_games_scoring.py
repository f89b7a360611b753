"""Scoring of games about a secret: values by hand, known answers, who is behind a game, edges."""

import math

import numpy as np
import pytest
import torch
from scipy.stats import norm
from secret_games import World, exact_bits, spots
from sklearn.metrics import roc_auc_score

from ptaudit.games.common.batches import Answers, Batches
from ptaudit.games.common.resampling_units import resampling_units_of
from ptaudit.games.common.scoring import score
from ptaudit.stats.roc import auc_estimate

METRICS = ["bits", "accuracy", "gain", "auc", "tpr_at_fpr_0.01", "tpr_at_fpr_0.001"]


def single(games, start=0):
    """Batches of one record each."""
    return torch.arange(start, start + games)[None, :, None]


def answers(q, secret, prior=None, members=None, unit=None, wrong=None, null=None):
    """Answers of one line from probabilities `(G, K)`."""
    q = torch.as_tensor(q, dtype=torch.float64)
    prior = torch.full_like(q, 1.0 / q.shape[1]) if prior is None else torch.as_tensor(prior, dtype=torch.float64)
    members = single(len(q)) if members is None else members
    secret = torch.as_tensor(secret)
    unit = members[0, :, 0] if unit is None else unit
    null = prior if null is None else torch.as_tensor(null, dtype=torch.float64)
    wrong = secret.roll(1) if wrong is None else wrong
    return Answers(q.log()[None], null.log()[None], wrong, Batches(members, secret, prior, unit))


def odds(scores):
    one = torch.as_tensor(scores).sigmoid()
    return torch.stack([1.0 - one, one], 1)


def gaussian_scores(games, distance, seed):
    """The exact posterior of two unit Gaussians."""
    generator = torch.Generator().manual_seed(seed)
    secret = torch.randint(2, (games,), generator=generator)
    seen = torch.randn(games, generator=generator, dtype=torch.float64) + distance * secret
    return distance * seen - distance**2 / 2.0, secret


def test_values_by_hand():
    q = [[0.9, 0.1], [0.2, 0.8], [0.6, 0.4], [0.5, 0.5]]
    prior = [[0.5, 0.5], [0.25, 0.75], [0.5, 0.5], [0.5, 0.5]]
    found = score([answers(q, [0, 1, 1, 0], prior, null=q)], 4, 0, clip=False)
    assert list(found) == METRICS
    value = {name: row[0].value for name, row in found.items()}
    assert value["bits"] == pytest.approx(np.mean(np.log2([1.8, 0.8 / 0.75, 0.8, 1.0])))
    assert value["accuracy"] == pytest.approx((1 + 1 + 0 + 0.5) / 4)
    assert value["gain"] == pytest.approx((0.5 + 0 - 0.5 + 0) / 4)
    # Log-odds over the prior's of value 1: -2.2, 0.29, -0.41, 0; secrets 1: the second and third.
    assert value["auc"] == pytest.approx((2 + 1) / 4)
    assert found["accuracy"][0].null == pytest.approx((0.5 + 1 + 0.5 + 0.5) / 4)
    # Shuffled: each game is judged against the secret of the one before.
    assert found["bits"][0].null == pytest.approx(np.mean(np.log2([1.8, 0.2 / 0.25, 0.8, 1.0])))
    assert found["bits"][0].ceiling == pytest.approx((3 + 0.8113) / 4, abs=1e-4)
    assert found["gain"][0].ceiling == pytest.approx(1 - 2.5 / 4)
    assert found["bits"][0].n == 4


def test_auc_is_that_of_scikit_learn_and_its_interval_that_of_delong():
    scores, secret = gaussian_scores(1500, 1.0, 1)
    found = score([answers(odds(scores), secret)], 1500, 0)["auc"][0]
    assert found.value == pytest.approx(roc_auc_score(secret, scores), abs=1e-12)
    delong = auc_estimate(scores[secret == 1].numpy(), scores[secret == 0].numpy(), seed=0)
    assert (found.lo, found.hi) == pytest.approx((delong.lo, delong.hi), abs=0.004)
    assert found.lo < norm.cdf(1.0 / math.sqrt(2.0)) < found.hi


def test_tpr_at_a_low_fpr():
    scores, secret = gaussian_scores(4000, 2.0, 2)
    found = score([answers(odds(scores), secret)], 4000, 0)
    # Phi(2 - Phi^-1(0.99)) = 0.37
    assert found["tpr_at_fpr_0.01"][0].lo < norm.cdf(2.0 - norm.ppf(0.99)) < found["tpr_at_fpr_0.01"][0].hi
    assert found["tpr_at_fpr_0.001"][0].status.startswith("inconclusive: FPR 0.001 needs 5000")


def test_tpr_takes_one_game_a_unit():
    scores, secret = gaussian_scores(600, 2.0, 3)
    unit = torch.arange(600) % 60
    found = score([answers(odds(scores), secret, unit=unit, members=unit[None, :, None])], 600, 0)
    assert "needs 500 games without the secret, there are" in found["tpr_at_fpr_0.01"][0].status
    assert found["tpr_at_fpr_0.01"][0].n == 60
    assert set(found) == {*METRICS}


def test_without_units_games_for_the_tpr_share_no_record():
    scores, secret = gaussian_scores(3000, 2.0, 4)
    members = torch.randint(300, (1, 3000, 3), generator=torch.Generator().manual_seed(5))
    found = score([answers(odds(scores), secret, members=members, unit=torch.full((3000,), -1))], 300, 0)
    assert found["tpr_at_fpr_0.01"][0].n <= 100


@pytest.mark.parametrize(
    ("m", "rounds", "noise", "n"), [(1, 1, 0.0, 6000), (2, 1, 0.0, 4000), (8, 1, 0.0, 4000), (8, 2, 2.0, 4000)]
)
def test_the_exact_posterior_is_nearly_reached_and_not_exceeded(m, rounds, noise, n):
    world = World(n=n, m=m, rounds=rounds, noise=noise, moves=spots(2, 16, 2.0 * math.sqrt(m)), seed=m)
    truth = exact_bits(world.moves, world.prior, m, rounds, noise)
    for family in ("likelihood-ratio", "linear"):
        found = world.score(family, games=(3000, 1000, 2000))["bits"][0]
        assert found.value > 0.9 * truth, family
        assert found.lo < truth, family
        assert abs(found.null) < 0.02


def test_unequal_priors_and_three_values():
    world = World(n=4000, k=8, m=2, moves=spots(3, 8, 3.0), prior=[0.6, 0.3, 0.1], seed=3)
    truth = exact_bits(world.moves, world.prior, 2, 1, 0.0)
    found = {name: row[0] for name, row in world.score("likelihood-ratio").items()}
    assert found["bits"].value > 0.88 * truth
    assert found["bits"].lo < truth
    assert found["bits"].ceiling == pytest.approx(1.295, abs=0.001)
    assert found["accuracy"].null == pytest.approx(0.6, abs=0.03)
    assert found["gain"].value == pytest.approx(found["accuracy"].value - found["accuracy"].null)
    assert abs(found["gain"].null) < 0.02


@pytest.mark.parametrize("family", ["likelihood-ratio", "linear", "mlp", "knn", "forest"])
def test_independent_secrets_give_nothing(family):
    found = World(n=1200, m=4, moves=torch.zeros(2, 16).double(), seed=5).score(family, games=(800, 500, 800))
    assert found["bits"][0].lo == found["gain"][0].lo == 0.0
    assert found["bits"][0].value < 0.01
    assert found["auc"][0].lo <= 0.5 <= found["auc"][0].hi


def test_a_static_adversary_may_be_worse_than_the_prior():
    world = World(n=1200, m=1, moves=spots(2, 16, 3.0), seed=7)
    order = world.records.view(2, -1)
    halves = []
    for i in range(2):
        half = world.half(order[i], order[1 - i], "likelihood-ratio", (1000, 500, 500), 0)
        turned = half.log_q.flip(-1)  # what it knew of the view points the wrong way
        halves.append(Answers(turned, half.null_log_q, half.wrong, half.batches))
    found = score(halves, 1200, 0, clip=False)
    assert found["bits"][0].hi < -0.5
    assert found["gain"][0].hi < -0.2
    assert found["auc"][0].hi < 0.3
    clipped = score(halves, 1200, 0)
    assert clipped["bits"][0].value == clipped["gain"][0].value == 0.0
    assert clipped["accuracy"][0].value == found["accuracy"][0].value


def test_a_line_that_is_not_a_number_is_inconclusive_and_others_are_not():
    one = answers(odds(torch.randn(200)), torch.arange(200) % 2)
    lines = torch.cat([one.log_q, torch.full_like(one.log_q, torch.nan), one.log_q])
    both = score([Answers(lines, lines, one.wrong, one.batches)], 200, 0)
    for name in METRICS:
        assert both[name][1].status == "inconclusive: gradients that are not finite"
        assert math.isnan(both[name][1].value)
    assert both["bits"][0] == both["bits"][2]
    assert both["bits"][0].conclusive


def test_one_secret_only_has_no_auc():
    found = score([answers(odds(torch.randn(100)), torch.ones(100, dtype=torch.long))], 100, 0)
    assert found["auc"][0].status == "inconclusive: needs games with either secret in both halves"
    assert found["bits"][0].conclusive
    assert found["tpr_at_fpr_0.01"][0].status.startswith("inconclusive")


def test_two_units_are_too_few():
    unit = torch.arange(100) % 2
    found = score(
        [answers(odds(torch.randn(100)), torch.arange(100) // 2 % 2, unit=unit, members=unit[None, :, None])], 100, 0
    )
    assert found["bits"][0].status == "inconclusive: needs 3 targets"


def test_games_that_are_all_won_widen_by_the_rule_of_three():
    secret = torch.arange(300) % 2
    found = score([answers(odds((2.0 * secret - 1.0) * 50.0), secret)], 300, 0)
    assert found["bits"][0].value == pytest.approx(1.0)
    assert found["bits"][0].lo == pytest.approx(0.99)
    assert found["auc"][0].lo == pytest.approx(0.99)
    fillers = torch.arange(300)[None, :, None] * 3 + torch.arange(3)
    found = score(
        [answers(odds((2.0 * secret - 1.0) * 50.0), secret, members=fillers % 450, unit=torch.full((300,), -1))], 450, 0
    )
    assert found["bits"][0].lo == pytest.approx(1.0 - 3 / 150)
    assert found["bits"][0].n == 450


def test_a_given_ceiling_is_kept():
    secret = torch.arange(300) % 2
    found = score([answers(odds((2.0 * secret - 1.0) * 50.0), secret)], 300, 0, 0.4)
    assert found["bits"][0].value == found["bits"][0].hi == found["bits"][0].ceiling == 0.4


# Who is behind a game


def batches(members, unit):
    games = members.shape[1]
    return Batches(members, torch.arange(games) % 2, torch.full((games, 2), 0.5), unit)


def test_a_target_is_a_unit_and_others_fill():
    generator = torch.Generator().manual_seed(1)
    target = torch.arange(50).repeat(4)
    members = torch.cat([target[None, :, None], torch.randint(100, (1, 200, 3), generator=generator)], -1)
    resampled = resampling_units_of(batches(members, target))
    assert len(resampled.units) == 50
    assert resampled.held.nnz == sum(len(set(game[1:].tolist())) for game in members[0])
    assert resampled.apart == 50


def test_records_of_a_user_fill_nothing():
    user = torch.arange(20).repeat(10)
    members = user[None, :, None] * 30 + torch.randint(30, (2, 200, 5), generator=torch.Generator().manual_seed(1))
    resampled = resampling_units_of(batches(members, user))
    assert len(resampled.units) == 20
    assert resampled.held.nnz == 0


def test_rounds_of_one_batch_count_once():
    members = torch.randint(90, (1, 200, 3), generator=torch.Generator().manual_seed(1))
    one, four = (resampling_units_of(batches(members.repeat(r, 1, 1), torch.full((200,), -1))) for r in (1, 4))
    assert (one.held != four.held).nnz == 0
    assert one.apart == four.apart


def test_few_units_widen_the_interval():
    def width(users):
        generator = torch.Generator().manual_seed(1)
        unit = torch.arange(2000) % users
        level = torch.randn(users, generator=generator)[unit]
        found = score(
            [answers(odds(level), torch.ones(2000, dtype=torch.long), unit=unit, members=unit[None, :, None])],
            2000,
            0,
            clip=False,
        )
        return found["bits"][0].hi - found["bits"][0].lo, float(torch.sigmoid(level).log2().std()) / math.sqrt(users)

    wide, error = width(8)
    assert wide > 2 * 2.2 * error  # a normal interval has 2 * 1.96
    wide, error = width(1000)
    assert wide == pytest.approx(2 * 1.96 * error, rel=0.1)
