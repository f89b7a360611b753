"""Intervals of games about a secret: coverage with and without targets, on heavy tails too; false alarms."""

import math

import numpy as np
import pytest
import torch
from secret_games import World, spots
from sklearn.metrics import roc_auc_score

from ptaudit.games.common.batches import Answers, Batches
from ptaudit.games.common.scoring import score

K = 8


def posterior(world, batches):
    """A fixed adversary: a Gaussian of the spread of the batch, with a share of the prior."""
    seen, m = world.views(batches).mean(0)[0], world.m
    scores = (seen @ world.moves.T - 0.5 * world.moves.square().sum(1)) / m
    return (0.95 * (scores + world.prior.log()).softmax(-1) + 0.05 * world.prior).log()


def truth(m, rounds, nu, n=1_600_000):
    """Mean of the metrics over games that share nobody."""
    world = World(n=n, k=K, m=m, rounds=rounds, moves=spots(2, K, 2.0 * math.sqrt(m)), nu=nu, seed=99)
    games = n // (1 + rounds * (m - 1))
    others = torch.arange(games, games + games * rounds * (m - 1)).view(rounds, games, m - 1)
    members = torch.cat([torch.arange(games).expand(rounds, -1)[..., None], others], -1)
    secret = torch.arange(games) % 2
    batches = Batches(members, secret, world.prior.expand(games, -1), torch.arange(games))
    log_q = posterior(world, batches)
    return {
        "bits": 1.0 + float(log_q.gather(1, secret[:, None]).mean()) / math.log(2.0),
        "accuracy": float((log_q.argmax(1) == secret).double().mean()),
        "auc": roc_auc_score(secret, log_q[:, 1] - log_q[:, 0]),
    }


def coverage(runs, n, m, rounds, nu, unit, games):
    """Share of the runs whose interval holds the truth, by metric."""
    known, held = truth(m, rounds, nu), []
    for run in range(runs):
        world = World(n=n, k=K, m=m, rounds=rounds, moves=spots(2, K, 2.0 * math.sqrt(m)), nu=nu, seed=run, unit=unit)
        halves = []
        for half in world.records.view(2, -1):
            drawn = world.draw(half, games)
            log_q = posterior(world, drawn)[None]
            halves.append(Answers(log_q, log_q, drawn.secret.roll(1), drawn))
        found = score(halves, n, run, clip=False)
        held.append([found[name][0].lo <= value <= found[name][0].hi for name, value in known.items()])
    return dict(zip(known, np.mean(held, 0)))


SETTINGS = [(400, 1, 1, None, True, 200), (1000, 4, 1, None, True, 250), (1000, 4, 1, None, False, 1000)]
HEAVY = [(1000, 4, 1, 3.0, True, 1000), (1000, 4, 2, 3.0, True, 250), (1000, 4, 1, 3.0, False, 500)]


@pytest.mark.parametrize("setting", [SETTINGS[1], HEAVY[2]])
def test_intervals_hold_the_truth(setting):
    found = coverage(50, *setting)
    assert min(found.values()) >= 0.82, found


@pytest.mark.slow
@pytest.mark.parametrize("setting", [*SETTINGS, *HEAVY, (1600, 16, 1, 3.0, True, 400), (1600, 16, 1, 3.0, False, 400)])
def test_intervals_hold_the_truth_in_many_runs(setting):
    found = coverage(400, *setting)
    print(setting, found)
    assert min(found["bits"], found["accuracy"]) >= 0.90, found
    assert found["auc"] >= 0.86, found


def alarms(runs, unit, m=4):
    """How often the lower end of the bits of independent secrets is above 0, and of the AUC above one half."""
    found = []
    for run in range(runs):
        world = World(n=400, k=K, m=m, moves=torch.zeros(2, K).double(), nu=3.0, seed=run, unit=unit)
        lines = score(world.halves("likelihood-ratio", games=(300, 200, 300)), 400, run, clip=False)
        found.append([lines["bits"][0].lo > 0.0, lines["gain"][0].lo > 0.0, lines["auc"][0].lo > 0.5])
    return np.mean(found, 0)


@pytest.mark.parametrize("unit", [True, False])
def test_independent_secrets_raise_no_alarm(unit):
    assert alarms(25, unit).max() <= 0.12


@pytest.mark.slow
@pytest.mark.parametrize("unit", [True, False])
def test_independent_secrets_raise_few_alarms_in_many_runs(unit):
    found = alarms(300, unit)
    print(unit, found)
    assert found.max() <= 0.045  # 2.5 % and two standard errors
