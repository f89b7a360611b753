"""The identity game against an adversary that knows the pool: all records a batch is drawn from, but not which were.

The candidates and the records that fill the batches are known to it, with their gradients. It calibrates its decoding
on batches of the other half of the records, a pool of the same size.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from ptaudit.attacks.evidence import Algebra
from ptaudit.attacks.pool import Pool, gram_of
from ptaudit.attacks.stacking import FittedStack, fit_stack, uniform_prior
from ptaudit.games.common.crossfit import QuarterScores, crossfit, estimates, quarters
from ptaudit.games.identity.measure import noise_ceiling, play_quarter
from ptaudit.stats.estimate import Estimate, inconclusive
from ptaudit.views.aggregate import Games, draw_games
from ptaudit.views.records_needed import too_few
from ptaudit.views.view import View

ADVERSARY = "least-squares"

FIT_GAMES = 512
"""Games of each role that the decoding is calibrated on."""


def measure(
    algebra: Algebra, view: View, parameters: Sequence[int | None], candidates: int = 256, seed: int = 0
) -> dict[str, list[Estimate]]:
    """Play the game for all layers jointly and for each.

    Args:
        algebra: the view as matrices, of a view that adds up.
        view: batch size, rounds, clipping and noise.
        parameters: gradient dimensions of the joint line and of each layer.
        candidates: most candidates K.
        seed: of all that is random.

    Returns:
        For `bits` and `accuracy` one estimate for each line.
    """
    n = algebra.records(1)
    k = min(candidates, n // 4)
    top = math.log2(k) if k > 1 else math.nan
    lines = len(parameters)
    if reason := too_few(n, view) or ("" if all(algebra.own.layers) else "a layer is known as a sketch only"):
        lost = {"bits": inconclusive(reason, ceiling=top, n=n), "accuracy": inconclusive(reason, ceiling=1.0, n=n)}
        return {metric: [estimate] * lines for metric, estimate in lost.items()}
    values = _play(algebra, view, k, seed)
    bits, hits, null, _ = values
    targets = 4 * (n // 4)
    ceilings = [min(top, noise_ceiling(view, d)) for d in parameters]
    return {
        "bits": estimates((bits, null), ceilings, targets, seed),
        "accuracy": estimates((hits, torch.full_like(hits, 1.0 / k)), [1.0] * lines, targets, seed),
    }


def _play(algebra: Algebra, view: View, k: int, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    order = quarters(algebra.records(1), generator)

    def play_half(own: Tensor, pairs: Sequence[tuple[Tensor, Tensor]]) -> list[QuarterScores]:
        one, two = own.view(2, -1)
        tried = []
        for targets, fillers in ((one[:k], two), (two[:k], one)):
            games = draw_games(len(targets), len(fillers), max(1, FIT_GAMES // k), view, generator)
            tried.append((_scores(algebra, view, (targets, fillers), games, generator), games.secret))
        fitted = [_fit(tried, k, wrong) for wrong in (0, 1)]

        def asked(members: Tensor, fillers: Tensor, games: Games) -> list[tuple[Tensor, Tensor]]:
            scores = _scores(algebra, view, (members, fillers), games, generator)
            return [_answer(stacks, scores) for stacks in fitted]

        return [play_quarter(asked, pair, view, k, generator) for pair in pairs]

    return crossfit(order, play_half)


def _scores(
    algebra: Algebra, view: View, who: tuple[Tensor, Tensor], games: Games, generator: torch.Generator
) -> Tensor:
    """Scores of all rounds together, two for all layers jointly and for each: `(2 * lines, G, K)`.

    `who` are the targets, and those who hide them.
    """
    targets, fillers = who
    records = torch.cat(who)
    grams = [gram_of(layer, records) for layer in algebra.own.layers]
    size = [sum(one.shape[0] * one.shape[1] for one in layer) for layer in algebra.own.layers]
    share = torch.full((len(records),), view.others / len(fillers), dtype=torch.float64)
    share[: len(targets)] = 1.0 / len(targets)
    noise = algebra.own.noise_std / (view.rounds**0.5 if view.fixed_batch else 1.0)
    pool = Pool(torch.stack([sum(grams[1:], grams[0]), *grams]), torch.tensor([sum(size), *size]), share, noise)
    batches = [torch.cat([games.secret[:, None], len(targets) + others], 1) for others in games.hidden(view)]
    return torch.stack([pool.scores(members, torch.arange(len(targets)), generator) for members in batches]).sum(0)


def _fit(tried: Sequence[tuple[Tensor, Tensor]], k: int, wrong: int) -> list[FittedStack]:
    """Weights of both decoders for every line."""
    scores, secret = torch.cat([one for one, _ in tried], 1), torch.cat([(secret + wrong) % k for _, secret in tried])
    prior = uniform_prior(scores)
    least = 1.0 / (len(secret) + 1)
    return [fit_stack(scores[i : i + 2], secret, prior, least) for i in range(0, len(scores), 2)]


def _answer(stacks: Sequence[FittedStack], scores: Tensor) -> tuple[Tensor, Tensor]:
    low = torch.stack([stack.combined(scores[2 * i : 2 * i + 2]) for i, stack in enumerate(stacks)])
    return low, torch.tensor([stack.share for stack in stacks], dtype=torch.float64)
