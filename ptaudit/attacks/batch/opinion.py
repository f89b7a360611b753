"""What families say of the played games, each from one row of sketches or one block of numbers; and their stack.

Layers and families look at the same records of one batch, so their log-ratios are not simply added: they are weighed on
the games that nobody was fitted on, see `attacks.stacking`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ptaudit.attacks.batch.counts import MOST as MOST_COUNTED
from ptaudit.attacks.batch.counts import REPEATS, KnownBatches, decoded
from ptaudit.attacks.batch.observations import FitObservations, PlayedObservations
from ptaudit.attacks.calibration import log_prior
from ptaudit.attacks.stacking import FittedStack, fit_stack

MOST = 24
"""Most opinions in a stack, the best ones."""

COUNTED = 4
"""Opinions that whole counts are read from, beside their stack: the best ones."""


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
    choose on. Where the secret is the value of one of several records, whole counts are read from the stack if that
    tells more.

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
        log_q = stack.log_posterior(torch.stack([one.shown[version] for one in mine]), played.prior)
        if stack.share < 1.0 and rounds == 1 and _counted(choose, played):
            q = _posteriors(stack, mine, (choose, played), version)
            secrets = asked.share[version].double(), asked.secret[version]
            counts = decoded(q[0], KnownBatches(*secrets, choose.prior[0].double(), choose.size, _least(choose)))
            log_q = log_q if counts is None else counts.log_posterior(q[1])
        found.append(log_q)
    return torch.stack(found)


def _counted(choose: FitObservations, played: PlayedObservations | FitObservations) -> bool:
    """Whether the secret is the value of any of a few records, none of which is known to differ from the others."""
    alike = all(bool((some == choose.prior[0]).all()) for some in (choose.prior, played.prior))
    return 1 < choose.size <= MOST_COUNTED and alike


def _posteriors(
    stack: FittedStack,
    opinions: Sequence[Opinion],
    games: tuple[FitObservations, PlayedObservations | FitObservations],
    version: int,
) -> tuple[Tensor, Tensor]:
    """Of the stack and of its first opinions alone, `(J, G, K)` float64: of the games to choose on, and the played."""
    tried, shown = (torch.stack([getattr(one, name)[version] for one in opinions]) for name in ("tried", "shown"))
    found = []
    for ratios, some in zip((tried, shown), games):
        alone = torch.softmax(ratios[:COUNTED].double() + log_prior(some.prior), -1)
        found.append(torch.cat([stack.log_posterior(ratios, some.prior).exp()[None], alone]))
    return found[0], found[1]


def _least(choose: FitObservations) -> float:
    """Smallest share of the prior, see `calibration.unseen`."""
    return 1.0 / (choose.records + 1.0)


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
    return fit_stack(tried, secret, prior, _least(choose)), mine
