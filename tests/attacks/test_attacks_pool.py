"""Exact decoding of who was drawn from a known pool, for layers of any kind; what noise leaves of it."""

import math

import pytest
import torch
from attack_cases import dense, explicit, factors, generator, words

from ptaudit.attacks.evidence import Algebra, Candidates
from ptaudit.attacks.pool import Pool, gram_of
from ptaudit.games.identity import pool as identity_pool
from ptaudit.games.identity.measure import noise_ceiling
from ptaudit.gradients import Dense
from ptaudit.gradients.matrices import BatchSums
from ptaudit.views.observation import TokenObservation
from ptaudit.views.view import View

POOL, K = 200, 40
FORMS = {
    "factors": lambda n, seed=0: factors(n, 24, 40, seed=seed),
    "positions": lambda n, seed=0: factors(n, 24, 40, 3, seed=seed),
    "dense": lambda n, seed=0: dense(factors(n, 20, 30, 9, seed=seed)),
    "vector": lambda n, seed=0: Dense(torch.randn(n, 1, 400, generator=generator(seed))),
    "embedding": lambda n, seed=0: words(n, 5, 300, seed=seed),
}


@pytest.mark.parametrize("form", FORMS)
def test_inner_products_are_those_of_whole_gradients(form):
    one = FORMS[form](12)
    flat = explicit(one).double().flatten(1)
    some = torch.tensor([3, 0, 7, 11])
    torch.testing.assert_close(gram_of([one], some), flat[some] @ flat[some].T, rtol=1e-5, atol=1e-4)
    torch.testing.assert_close(gram_of([one, one], some), 2.0 * flat[some] @ flat[some].T, rtol=1e-5, atol=1e-4)


def decoded(one, m, noise, count=64, seed=3):
    """Scores of K candidates, of which one is in each batch, and the secret."""
    gram = gram_of([one], torch.arange(POOL))[None]
    g = generator(seed)
    secret = torch.arange(count) % K
    others = torch.stack([K + torch.randperm(POOL - K, generator=g)[: m - 1] for _ in range(count)])
    share = torch.full((POOL,), (m - 1) / (POOL - K), dtype=torch.float64)
    share[:K] = 1.0 / K
    size = one.shape[0] * one.shape[1]
    pool = Pool(gram, torch.tensor([size]), share, noise)
    members = torch.cat([secret[:, None], others], 1)
    return pool.scores(members, torch.arange(K), g), secret, members


@pytest.mark.parametrize("form", FORMS)
def test_every_member_of_64_is_named_while_the_pool_does_not_exceed_the_rank(form):
    scores, secret, _ = decoded(FORMS[form](POOL), 64, 0.0)
    for one in scores:
        assert torch.equal(one.argmax(1), secret)
    best = torch.log_softmax(scores[0].double(), 1).gather(1, secret[:, None])
    assert float(best.min()) > -1e-3


def test_counts_are_those_of_least_squares():
    """All places of the pool, the others' too: in or out, without one error."""
    one = FORMS["dense"](POOL)
    gram = gram_of([one], torch.arange(POOL))[None]
    g = generator(5)
    members = torch.stack([torch.randperm(POOL, generator=g)[:64] for _ in range(16)])
    pool = Pool(gram, torch.tensor([600]), torch.full((POOL,), 0.32, dtype=torch.float64), 0.0)
    ratio = pool.scores(members, torch.arange(POOL), g)[0]
    inside = torch.zeros(16, POOL, dtype=torch.bool).scatter_(1, members, True)
    assert torch.equal(ratio > 0, inside)


def test_beyond_the_rank_it_is_not_sure():
    """200 records in 60 dimensions: scores must not be those of certainty."""
    scores, secret, _ = decoded(Dense(torch.randn(POOL, 1, 60, generator=generator())), 64, 0.0)
    own = torch.log_softmax(scores[0].double(), 1).gather(1, secret[:, None]) / math.log(2.0)
    assert float((scores[0].argmax(1) == secret).float().mean()) < 0.9
    assert float(own.mean()) > -math.log2(K)


@pytest.mark.parametrize("noise", [20.0, 60.0])
def test_ratios_under_noise_are_calibrated(noise):
    """As they are, without a weight: bits of the posterior are positive and near the best that a weight would give."""
    scores, secret, _ = decoded(Dense(torch.randn(POOL, 1, 400, generator=generator())), 16, noise, 1000)

    def bits(weight):
        return float(torch.log_softmax(weight * scores[0].double(), 1).gather(1, secret[:, None]).mean())

    best = max(bits(w) for w in (0.25, 0.5, 0.75, 1.0, 1.5, 2.0))
    top = math.log(K)
    assert bits(1.0) + top > 0.9 * (best + top) > 0.0


# The game


def played(one, m, noise=0.0, clip=None, parameters=None, seed=0):
    own = [[one]]
    if clip is not None:
        own = [[one.scaled((clip / one.norms()).clamp(max=1.0).double())]]
    view = View("v", m, clip=clip, noise_std=noise)
    seen = TokenObservation(torch.zeros(1, len(one.norms()), 1), noise, BatchSums(own, noise))
    algebra = Algebra(seen, Candidates(own, noise))
    size = parameters or one.shape[0] * one.shape[1]
    return identity_pool.measure(algebra, view, [size, size], 64, seed), view, size


@pytest.mark.parametrize("form", FORMS)
def test_the_game_is_won_while_the_pool_does_not_exceed_the_rank(form):
    """Pools of 128 targets and fillers, batches of 12: everything is found, for any layer."""
    found, _, _ = played(FORMS[form](256), 12)
    for bits in found["bits"]:
        assert bits.value > 0.98 * bits.ceiling
        assert bits.hi <= bits.ceiling
        assert abs(bits.null) < 0.01
    assert found["accuracy"][0].value > 0.99


def test_noise_keeps_it_below_the_channel():
    """Clipped to 1: the ceiling is that of the channel, and what is found stays below it, and is not nothing."""
    one = Dense(torch.randn(512, 1, 300, generator=generator()))
    for noise in (0.5, 2.0):
        found, view, size = played(one, 8, noise, clip=1.0)
        for bits in found["bits"]:
            assert bits.ceiling == min(6.0, noise_ceiling(view, size))
            assert 0.0 <= bits.lo <= bits.value <= bits.hi <= bits.ceiling
            assert abs(bits.null) < 0.02
        if noise == 0.5:
            assert found["bits"][0].lo > 0.3


def test_large_noise_leaves_nothing():
    found, _, _ = played(Dense(torch.randn(512, 1, 300, generator=generator())), 8, 100.0, clip=1.0)
    assert found["bits"][0].lo <= 0.0
    assert found["bits"][0].value < 0.01


@pytest.mark.parametrize("seed", range(3))
def test_equal_records_cannot_be_told_apart(seed):
    """All gradients are the same: nothing, whatever the seed."""
    one = Dense(torch.randn(1, 1, 50, generator=generator()).expand(256, 1, 50).contiguous())
    found, _, _ = played(one, 4, seed=seed)
    assert found["bits"][0].value == pytest.approx(0.0, abs=0.005)
    assert found["bits"][0].lo <= 0.0


def test_too_few_records_are_inconclusive():
    found, _, _ = played(FORMS["dense"](100), 8)
    assert not found["bits"][0].conclusive
    assert "needs 160 records" in found["bits"][0].status
