"""Variational bounds on mutual information as functions of a matrix of critic scores, in nats.

Scores f are `(P, n, n)`: row i is the x of pair i, column j the y of pair j. `chance` holds the chance of each rival,
`(n, n)`: what y of another RECORD is drawn against the x of row i; 0 for all pairs of the row's own record and of
another side.

Every bound returns one value for each pair whose mean over records is the bound, and whose spread is its error: the
value of the pair itself and its influence as x and as y in the mismatched pairs (the Hajek projection of a U-statistic;
Hoeffding 1948, van der Vaart 1998 ch. 11-12).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

FAR = 30.0
"""Log density ratios in a loss are held to ± this: no overflow, and no denormal numbers, which are slow."""


@dataclass(frozen=True)
class Rivals:
    """Who may stand in for the y of a pair.

    Attributes:
        chance: `(n, n)`, rows summing to 1 (0 where a side has no other record).
        records: number of records R; of the smallest side.
        each: number of records of the side of each row, `(n,)`; None: one side.
        same: whether two pairs are of one side, `(n, n)`; None: one side.
    """

    chance: Tensor
    records: int
    each: Tensor | None = None
    same: Tensor | None = None

    @property
    def candidates(self) -> Tensor | int:
        """Among how many records the y of each row is, itself included."""
        return self.records if self.each is None else self.each

    @property
    def rival_pairs(self) -> Tensor | int:
        """How many other pairs are of the side of each row, `(n, 1)`."""
        return len(self.chance) - 1 if self.same is None else self.same.sum(-1, keepdim=True) - 1

    def mean(self, values: Tensor) -> Tensor:
        """Mean over records of values of the pairs, over the last axis."""
        own = self._weight()
        return values @ (own / own.sum())

    def side_mean(self, values: Tensor) -> Tensor:
        """The same over the records of each pair's own side, `(P, n)`; `(P, 1)` if there is one side."""
        if self.same is None:
            return self.mean(values)[:, None]
        own = self.same * self._weight()
        return values @ (own / own.sum(-1, keepdim=True)).T

    def _weight(self) -> Tensor:
        most = self.chance.amax(0)
        return most if self.each is None else most * (self.each - 1)


def rivals(record: Tensor, side: Tensor | None = None) -> Rivals:
    """A rival is a record drawn from the others of its side, then one of its pairs.

    Args:
        record: the record of each pair, `(n,)`.
        side: see `Pairs`.
    """
    _, place, count = torch.unique(record, return_inverse=True, return_counts=True)
    chance = (place[:, None] != place).float() / count[place]
    if side is None:
        return Rivals(chance / max(len(count) - 1, 1), len(count))
    same = side[:, None] == side
    # Each pair counts 1 / (pairs of its record): these sum to the records of a side.
    each = (same / count[place]).sum(-1).round()
    return Rivals(chance * same / (each - 1).clamp_min(1)[:, None], int(each.min()), each, same)


class Bound(Protocol):
    """A bound, how a critic is trained for it, and how a trained one is made fit for it."""

    def loss(self, scores: Tensor, rivals: Rivals, memory: Tensor) -> tuple[Tensor, Tensor]:
        """What training makes small, `(P,)`, and what it remembers for the next step, `(P,)`."""

    def choices(self, scores: Tensor, rivals: Rivals) -> Tensor:
        """What a trained critic may be combined with besides a temperature, `(P, C)`."""

    def means(self, scores: Tensor, rivals: Rivals, choices: Tensor) -> Tensor:
        """The bound under every choice, `(P, C)`."""

    def values(self, scores: Tensor, rivals: Rivals, choice: Tensor) -> Tensor:
        """One value for each pair under one choice `(P,)`; 0 is the critic as it is. Result `(P, n)`."""


def diagonal(scores: Tensor) -> Tensor:
    """f of the matched pairs, `(P, n)`."""
    return scores.diagonal(dim1=-2, dim2=-1)


def mismatched_mean(scores: Tensor, rivals: Rivals) -> Tensor:
    """Mean of exp(f) over the mismatched pairs of a training step, `(P,)`."""
    return (scores.clamp(-FAR, FAR).exp() * rivals.chance).sum(-1).mean(-1)


def as_x(ratio: Tensor, rivals: Rivals) -> Tensor:
    """Mean of density ratios `(P, n, n)` over the rivals of each pair, `(P, n)`."""
    return torch.einsum("pij,ij->pi", ratio, rivals.chance)


def as_y(ratio: Tensor, rivals: Rivals) -> Tensor:
    """Mean of density ratios over the x that each pair's y may be put beside, `(P, n)`."""
    return torch.einsum("pij,ji->pj", ratio, rivals.chance)


def rival_ratios(scores: Tensor, rivals: Rivals) -> tuple[Tensor, Tensor]:
    """Largest score of a rival `(P,)`, and density ratios less that factor `(P, n, n)`, 0 where there is no rival.

    Matched pairs do not count: where they stand far above every rival they would leave nothing of these.
    """
    held = scores.masked_fill(rivals.chance == 0.0, -torch.inf)
    top = held.amax((1, 2))
    return top, (held - top[:, None, None]).exp()


def no_choice(scores: Tensor, rivals: Rivals) -> Tensor:
    """The critic as it is."""
    return scores.new_zeros(len(scores), 1)
