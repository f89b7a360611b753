"""Whole counts read from posteriors: held against enumeration and exact counts; nothing from shuffled batches."""

import itertools
import math

import pytest
import torch
from torch.nn.functional import one_hot

from ptaudit.attacks.batch import COMBINED, FitObservations, ObservedGames, prepare
from ptaudit.attacks.batch.counts import CountDecoder, KnownBatches, _expected, decoded

VALUES, SIZE = 4, 6
PRIOR = torch.tensor([0.4, 0.3, 0.2, 0.1], dtype=torch.float64)


def batches(games, seed):
    """Values of the records of every batch, `(G, m)`: the first is the target's."""
    generator = torch.Generator().manual_seed(seed)
    return torch.multinomial(PRIOR.expand(games, -1), SIZE, replacement=True, generator=generator)


def counted(values):
    return one_hot(values, VALUES).sum(1)


def noise(*shape, seed):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def vague(counts, by, seed):
    """Posteriors that know counts up to an error, and nothing of their being whole."""
    told = (counts + by * noise(*counts.shape, seed=seed)).abs() + 0.1
    return told / told.sum(1, keepdim=True)


def bits(log_q, share):
    """Mean over all members of what is gained over the prior."""
    return float((share * (log_q - PRIOR.log())).sum(1).mean()) / math.log(2.0)


def known(games=1500, seed=0):
    values = batches(games, seed)
    return KnownBatches(counted(values).double() / SIZE, values[:, 0], PRIOR, SIZE, 1e-3)


def test_means_of_counts_that_add_up_are_those_of_all_that_do():
    chances = noise(3, 5, 7, seed=1).square()
    weights = {
        some: chances[0, some[0]] * chances[1, some[1]] * chances[2, some[2]]
        for some in itertools.product(range(5), repeat=3)
        if sum(some) == 4
    }
    total = sum(weights.values())
    for value in range(3):
        mean = sum(some[value] * weight for some, weight in weights.items()) / total / 4
        torch.testing.assert_close(_expected(chances)[:, value], mean)


def test_equal_probabilities_are_equal_chances():
    truth = known()
    flat = PRIOR.expand(len(truth.share), -1)
    told = CountDecoder.fit(flat, truth.counts, SIZE).shares(flat)
    torch.testing.assert_close(told, told[:1].expand(len(told), -1))
    torch.testing.assert_close(told[0], truth.share.mean(0), atol=0.02, rtol=0.0)


def test_counts_that_are_all_but_told_are_told():
    truth, asked = known(), known(seed=1)
    q, shown = (vague(some.counts, 0.25, seed) for seed, some in enumerate((truth, asked)))
    found = decoded(q[None], truth).log_posterior(shown[None])
    exact = bits(asked.share.clamp_min(1e-300).log(), asked.share)
    assert bits(shown.log(), asked.share) < 0.85 * exact
    assert 0.9 * exact < bits(found, asked.share) <= exact
    torch.testing.assert_close(found.exp().sum(1), torch.ones(len(found), dtype=torch.float64))


def test_several_posteriors_tell_more_than_each():
    truth, asked = known(), known(seed=1)
    pairs = [
        torch.stack([vague(some.counts, 0.6, 10 * seed + part) for part in (1, 2)])
        for seed, some in enumerate((truth, asked))
    ]
    both = bits(decoded(pairs[0], truth).log_posterior(pairs[1]), asked.share)
    alone = bits(decoded(pairs[0][:1], truth).log_posterior(pairs[1][:1]), asked.share)
    assert both > alone + 0.03


@pytest.mark.parametrize("seed", range(8))
def test_of_other_batches_nothing_is_read(seed):
    truth, others = known(600, seed), known(600, 100 + seed)
    found = decoded(vague(others.counts, 0.25, seed)[None], truth)
    shown = vague(known(600, 200 + seed).counts, 0.25, 7)
    # Better than what is sure of the wrong counts, and never more than the prior.
    assert found is None or abs(bits(found.log_posterior(shown[None]), known(600, 300 + seed).share)) < 0.02


def seen(games, seed, size):
    """Games of noisy counts."""
    values = batches(games, seed)
    counts = counted(values)
    views = counts.double() + 0.1 * noise(games, VALUES, seed=50 + seed)
    prior, share = PRIOR.expand(games, -1), (counts / SIZE).float()
    return FitObservations(views[None, None], values[:, 0], prior, share=share, size=size)


def test_the_stack_reads_whole_counts_and_finds_nothing_where_secrets_are_deranged():
    told = {}
    for size in (0, SIZE):
        games = ObservedGames(*(seen(games, seed, size) for seed, games in enumerate((1500, 1500, 2000))))
        log_q, null = prepare(games, [[0]], COMBINED, 0)
        told[size] = bits(log_q[0], games.played.share.double())
        assert bits(null[0], games.played.share.double().roll(1, 0)) < 0.01
    exact = bits(games.played.share.double().clamp_min(1e-300).log(), games.played.share.double())
    assert told[0] < 0.85 * exact
    assert 0.9 * exact < told[SIZE] <= exact
