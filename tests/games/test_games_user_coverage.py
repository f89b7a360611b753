"""Intervals of the user game: users are resampled as targets and as rival candidates."""

import numpy as np
import pytest
import torch

from ptaudit.attacks.known import Known
from ptaudit.games.common.resampling_units import resampling_units_of
from ptaudit.games.user import measure as user
from ptaudit.views import View


def uneven(users, seed, records=6, k=6):
    """Users whose means are spread very unevenly: some easy to tell from all others, most hardly."""
    generator = torch.Generator().manual_seed(seed)
    means = torch.randn(users, k, generator=generator, dtype=torch.float64)
    means *= 3.0 * torch.rand(users, 1, generator=generator, dtype=torch.float64) ** 3
    tokens = means[:, None] + torch.randn(users, records, k, generator=generator, dtype=torch.float64)
    return tokens.reshape(1, -1, k), torch.arange(users).repeat_interleave(records)


def coverage(runs, users, candidates):
    """Share of the runs whose interval holds the mean over runs, for bits and accuracy."""
    found = []
    for run in range(runs):
        tokens, owner = uneven(users, run + 1000)
        one = user.measure(Known(tokens, View("v", 2)), owner, [[0]], candidates, run)["likelihood-ratio"]
        found.append([[e.value, e.lo, e.hi] for e in (one["bits"][0], one["accuracy"][0])])
    value, lo, hi = np.moveaxis(np.array(found), -1, 0)
    return ((lo <= value.mean(0)) & (value.mean(0) <= hi)).mean(0)


def test_rivals_are_resampled():
    tokens, owner = uneven(80, 0)
    for half in user.play(Known(tokens, View("v", 2)), owner, [[0]], 4, 0)["likelihood-ratio"]:
        games = half.batches
        assert games.rivals.shape == (len(games.unit), 3)
        both = torch.cat([games.unit[:, None], games.rivals], 1)
        assert all(len(set(row)) == 4 for row in both.tolist())
        # The candidates of a game stand in the order of the set: those with the same candidates have all positions.
        resampled = resampling_units_of(games)
        assert set(resampled.fillers.tolist()) == set(games.rivals.flatten().tolist()) <= set(resampled.units.tolist())
        assert resampled.held.nnz == games.rivals.numel()
        assert resampled.size == len(resampled.units) == resampled.apart


def test_without_rivals_nothing_fills():
    tokens, owner = uneven(80, 0)
    half = user.play(Known(tokens, View("v", 2)), owner, [[0]], 4, 0)["likelihood-ratio"][0].batches
    alone = type(half)(half.members, half.secret, half.prior, half.unit)
    assert resampling_units_of(alone).held.nnz == 0


def test_intervals_of_users_hold_the_truth():
    assert coverage(40, 160, 2).min() >= 0.84


@pytest.mark.slow
@pytest.mark.parametrize(("users", "candidates"), [(160, 2), (160, 16), (400, 4)])
def test_intervals_of_users_hold_the_truth_in_many_runs(users, candidates):
    found = coverage(300, users, candidates)
    print(users, candidates, found)
    assert found.min() >= 0.91
