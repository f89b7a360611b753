"""Held-out records as the adversary's own: of use where they are like members, left aside where they are not."""

import torch
from identity_truth import exact_bits, gaussian

from ptaudit.attacks.densities import Own
from ptaudit.attacks.evidence import Algebra, Candidates
from ptaudit.attacks.known import Further, Known
from ptaudit.attacks.likelihood_ratio import fit_likelihood_ratio
from ptaudit.attacks.observed_density import Effort
from ptaudit.games.identity.measure import measure
from ptaudit.gradients import Dense
from ptaudit.gradients.matrices import BatchSums
from ptaudit.views.observation import TokenObservation
from ptaudit.views.view import View

K, M = 64, 8
VIEW = View("view", M)


def played(tokens, further, seed=0):
    known = None if further is None else Further(further[None], lambda records: [])
    groups = [[0]]
    return measure(Known(tokens[None], VIEW, further=known), groups, [None], Effort(64), seed)[1]["bits"][0]


def test_more_records_of_the_same_kind_bring_it_to_the_exact_posterior():
    """64 directions, and 128 records to learn them from: too few without others."""
    turn = torch.logspace(0, 1.5, K, dtype=torch.float64)
    tokens, more = gaussian(256, K, 1) * turn, gaussian(2048, K, 2) * turn
    exact = exact_bits(K, 64, M - 1)
    alone, helped = played(tokens, None), played(tokens, more)
    assert helped.value > alone.value + 0.05 * exact
    assert 0.93 * exact <= helped.value
    assert helped.lo <= exact


def test_records_of_another_kind_change_nothing():
    """A thousand times larger, as gradients of records that a model has not learned may be."""
    tokens = gaussian(512, K, 1) * torch.logspace(0, 1.5, K, dtype=torch.float64)
    others = 1000.0 * gaussian(512, K, 2)
    assert played(tokens, others) == played(tokens, None)


def test_what_is_chosen_is_said():
    tokens = gaussian(128, K, 1)[None]
    same, other = gaussian(1024, K, 2)[None], 1000.0 * gaussian(1024, K, 2)[None]
    fitted = [
        fit_likelihood_ratio(Own(tokens, VIEW, further=f), torch.Generator().manual_seed(0), Effort(64))
        for f in (same, other, None)
    ]
    assert [one.wider for one in fitted] == [True, False, False]


def test_where_nothing_is_seen_nothing_is_found():
    """The candidates' tokens are drowned in noise: further records must not open what is closed."""
    view = View("view", M, noise_std=1e4)
    further = Further(gaussian(1024, 16, 2)[None], lambda records: [])
    found = [
        measure(Known(gaussian(512, 16, s)[None], view, further=further), [[0]], [None], Effort(64), s)
        for s in range(3)
    ]
    assert all(one[1]["bits"][0].lo <= 0.0 for one in found)
    assert max(one[1]["bits"][0].value for one in found) < 0.02


def test_more_batches_of_its_own_are_played_where_they_are_asked_for():
    own = Own(gaussian(256, K, 1)[None], VIEW)
    few, many = (
        fit_likelihood_ratio(own, torch.Generator().manual_seed(0), Effort(64, batches)).trials
        for batches in (1024, 4096)
    )
    assert sum(len(trial.secret) for trial in few) == 1024
    assert sum(len(trial.secret) for trial in many) == 4096


def test_where_they_give_a_covariance_its_full_rank_all_layers_say_no_less_than_one():
    """350 numbers of a layer: 80 of its own records and 400 others are more of them, 40 and 200 are fewer."""
    generator, view, n, most = torch.Generator().manual_seed(0), View("rounds", 2, rounds=2), 160, 400
    own, more = ([[Dense(torch.randn(m, *size, generator=generator))] for size in ((5, 70), (4, 9))] for m in (n, most))
    tokens, other = (torch.randn(4, m, 16, generator=generator, dtype=torch.float64) for m in (n, most))
    further = Further(other, lambda records: [[Dense(one.values[:records]) for one in layer] for layer in more])
    algebra = Algebra(TokenObservation(tokens, sums=BatchSums(own)), Candidates(own))
    groups = [[0, 1, 2, 3], [0], [1]]
    for seed in range(2):
        known = Known(tokens, view, algebra=algebra, further=further)
        joint, *layers = measure(known, groups, [None] * 3, Effort(16, 512), seed)[1]["bits"]
        assert joint.value > 0.97 * max(layer.value for layer in layers)
