"""What families say of the played games, each from one row of sketches or one block of numbers; and their stack.

Layers and families look at the same records of one batch, so their log-ratios are not simply added: they are weighed on
the games that nobody was fitted on, see `attacks.stacking`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ptaudit.attacks.batch.observations import FitObservations, PlayedObservations
from ptaudit.attacks.stacking import FittedStack, fit_stack

MOST = 24
"""Most opinions in a stack, the best ones."""

REPEATS = 4
"""Members of a batch whose values stand for its secret when opinions are weighed, where all members are alike."""


@dataclass(frozen=True)
class Versions:
    """What V versions of the adversary take to be true of its own games: the truth, and that of other games.

    Attributes:
        secret: `(V, G)`.
        share: probability of every value given who is in the batch, `(V, G, K)`.
    """

    secret: Tensor
    share: Tensor


@dataclass(frozen=True)
class Opinion:
    """What one family says from one row or block, in every version of the adversary.

    Attributes:
        rows: the row of the sketches, or the layers that the numbers are of.
        numbers: whether it is of numbers of matrices.
        tried: log-ratios of the games to choose on, at the best setting, `(V, G, K)` float32.
        shown: of the played games.
        log_q: its own calibrated log-posteriors of the played games, `(V, G, K)` float64.
        bits: mean bits of these on the games to choose on, `(V,)`.
    """

    rows: tuple[int, ...]
    numbers: bool
    tried: Tensor
    shown: Tensor
    log_q: Tensor
    bits: Tensor


def best(opinions: Sequence[Opinion]) -> Tensor:
    """Log-posteriors of the opinion that did best on the games to choose on, `(V, G, K)`."""
    first = torch.stack([one.bits for one in opinions]).argmax(0)
    return torch.stack([opinions[int(place)].log_q[version] for version, place in enumerate(first)])


def stacked(
    opinions: Sequence[Opinion],
    asked: Versions,
    games: tuple[FitObservations, PlayedObservations | FitObservations],
    rounds: int,
) -> Tensor:
    """Log-posteriors of all opinions as one, `(V, G, K)` float64.

    Where a view is random, numbers and the sketches of layers and of all of them are drawn apart from one batch, and
    several together would be as many observations where the adversary had one: it takes what does best on the games to
    choose on.

    Args:
        opinions: all of one line.
        asked: what is true of the games to choose on.
        games: those, and the played ones.
        rounds: of a game; the values of other members stand for the secret only where there is one.
    """
    choose, played = games
    sides = _drawn_at_once(opinions) if choose.random else [list(opinions)]
    found = []
    for version in range(len(asked.secret)):
        told = [_stack(side, asked, choose, version, rounds) for side in sides]
        stack, mine = max(told, key=lambda one: one[0].bits)
        shown = torch.stack([one.shown[version] for one in mine])
        found.append(stack.log_posterior(shown, played.prior))
    return torch.stack(found)


def _drawn_at_once(opinions: Sequence[Opinion]) -> list[list[Opinion]]:
    """What is drawn at once: all numbers, and the sketches in one row."""
    drawn: dict[tuple[int, ...], list[Opinion]] = {}
    for one in opinions:
        drawn.setdefault(() if one.numbers else one.rows, []).append(one)
    return list(drawn.values())


def _stack(
    opinions: Sequence[Opinion], asked: Versions, choose: FitObservations, version: int, rounds: int
) -> tuple[FittedStack, list[Opinion]]:
    """The weights of the best opinions, and these."""
    order = torch.stack([one.bits[version] for one in opinions]).argsort(descending=True, stable=True)
    mine = [opinions[int(place)] for place in order[:MOST]]
    tried = torch.stack([one.tried[version] for one in mine])
    secret, prior = asked.secret[version], choose.prior
    if rounds == 1 and choose.share is not None:
        generator = torch.Generator().manual_seed(len(secret))
        others = torch.multinomial(asked.share[version].cpu(), REPEATS - 1, replacement=True, generator=generator)
        secret = torch.cat([secret, *others.T.to(secret.device)])
        tried, prior = tried.repeat(1, REPEATS, 1), prior.repeat(REPEATS, 1)
    return fit_stack(tried, secret, prior, 1.0 / (choose.records + 1.0)), mine
