"""Games about a secret whose exact answer is known: a secret moves the token of the target among others."""

import math

import numpy as np
import torch

from ptaudit.attacks.batch import FitObservations, ObservedGames, PlayedObservations, prepare
from ptaudit.games.common.batches import Answers, Batches
from ptaudit.games.common.scoring import score
from ptaudit.views.aggregate import draw_others


def spots(values, k, distance):
    """What each value of the secret adds to the target's token: the first nothing, neighbours `distance` apart."""
    return torch.arange(values, dtype=torch.float64)[:, None] * distance / math.sqrt(k) * torch.ones(k)


class World:
    """N records of Gaussian tokens (or Student-t with `nu`); the value s of the secret adds `moves[s]` to the target's.

    With `unit` the unit of a game is its target, without there is none.
    """

    def __init__(self, n=1200, k=16, m=1, rounds=1, noise=0.0, moves=None, prior=None, nu=None, seed=0, unit=True):
        self.generator = torch.Generator().manual_seed(seed)
        self.tokens = torch.randn(n, k, generator=self.generator, dtype=torch.float64)
        if nu is not None:
            chi = torch.from_numpy(np.random.default_rng(seed).chisquare(nu, (n, 1)))
            self.tokens *= (nu / chi).sqrt()
        self.m, self.rounds, self.noise, self.unit = m, rounds, noise, unit
        self.moves = spots(2, k, 1.5) if moves is None else moves
        values = len(self.moves)
        self.prior = torch.full((values,), 1.0 / values, dtype=torch.float64) if prior is None else torch.tensor(prior)
        self.records = torch.randperm(n, generator=self.generator)

    def draw(self, pool, games):
        """Games whose targets go round the first half of the pool; the other half fills the batches."""
        targets, fillers = pool[: len(pool) // 2], pool[len(pool) // 2 :]
        target = targets[torch.arange(games) % len(targets)]
        others = fillers[draw_others(len(fillers), self.rounds * games, self.m - 1, self.generator)]
        members = torch.cat([target.expand(self.rounds, -1)[..., None], others.view(self.rounds, games, -1)], -1)
        secret = torch.multinomial(self.prior, games, replacement=True, generator=self.generator)
        unit = target if self.unit else torch.full((games,), -1)
        return Batches(members, secret, self.prior.expand(games, -1), unit)

    def views(self, batches):
        """`(r, 1, G, k)`."""
        total = self.tokens[batches.members].sum(2) + self.moves[batches.secret]
        drawn = torch.randn(total.shape, generator=self.generator, dtype=torch.float64)
        return (total + self.noise * drawn)[:, None]

    def seen(self, batches):
        return FitObservations(self.views(batches), batches.secret, batches.prior)

    def halves(self, family, games=(2000, 1000, 1000), seed=0):
        """Answers of both halves."""
        order = self.records.view(2, -1)
        return [self.half(order[i], order[1 - i], family, games, seed) for i in range(2)]

    def half(self, own, theirs, family, games, seed):
        cut = 2 * len(own) // 3
        fit, choose, played = (self.draw(p, g) for p, g in zip((own[:cut], own[cut:], theirs), games))
        shown = PlayedObservations(self.views(played), played.prior)
        log_q, null = prepare(ObservedGames(self.seen(fit), self.seen(choose), shown), [[0]], family, seed)
        wrong = played.secret[torch.randperm(len(played.secret), generator=self.generator)]
        return Answers(log_q, null, wrong, played)

    def score(self, family, **options):
        return score(self.halves(family, **options), len(self.tokens), 0)


def exact_bits(moves, prior, m, rounds, noise, draws=200_000, seed=1):
    """Bits of the exact posterior, by Monte Carlo: r sums of m unit Gaussians and noise, moved by the secret.

    The target is the same in all rounds; the others and the noise average out.
    """
    generator = torch.Generator().manual_seed(seed)
    secret = torch.multinomial(prior, draws, replacement=True, generator=generator)
    moves = moves / math.sqrt(1.0 + (m - 1 + noise**2) / rounds)
    seen = moves[secret] + torch.randn(draws, moves.shape[1], generator=generator, dtype=torch.float64)
    log_q = (-0.5 * torch.cdist(seen, moves).square() + prior.log()).log_softmax(1)
    won = log_q.gather(1, secret[:, None]).squeeze(1) - prior.log()[secret]
    return float(won.mean() / math.log(2.0))
