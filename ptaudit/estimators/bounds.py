"""Variational bounds on mutual information as functions of a matrix of critic scores, in nats.

Scores f are `(P, n, n)`: row i is the x of pair i, column j the y of pair j. `chance` holds the chance of each rival,
`(n, n)`: what y of another RECORD is drawn against the x of row i; 0 for all pairs of the row's own record.

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
        chance: `(n, n)`, rows summing to 1.
        records: number of records R.
    """

    chance: Tensor
    records: int

    def mean(self, values: Tensor) -> Tensor:
        """Mean over records of values of the pairs, over the last axis."""
        own = self.chance.amax(0)
        return values @ (own / own.sum())


def rivals(record: Tensor) -> Rivals:
    """A rival is a record drawn from the others, then one of its pairs.

    Args:
        record: the record of each pair, `(n,)`.
    """
    _, place, count = torch.unique(record, return_inverse=True, return_counts=True)
    chance = (place[:, None] != place).float() / count[place]
    return Rivals(chance / max(len(count) - 1, 1), len(count))


class Bound(Protocol):
    """A bound, how a critic is trained for it, and how a trained one is made fit for it."""

    def loss(self, scores: Tensor, chance: Tensor, memory: Tensor) -> tuple[Tensor, Tensor]:
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


def mismatched_mean(scores: Tensor, chance: Tensor) -> Tensor:
    """Mean of exp(f) over the mismatched pairs of a training step, `(P,)`."""
    return (scores.clamp(-FAR, FAR).exp() * chance).sum(-1).mean(-1)


def as_x(ratio: Tensor, rivals: Rivals) -> Tensor:
    """Mean of density ratios `(P, n, n)` over the rivals of each pair, `(P, n)`."""
    return torch.einsum("pij,ij->pi", ratio, rivals.chance)


def as_y(ratio: Tensor, rivals: Rivals) -> Tensor:
    """Mean of density ratios over the x that each pair's y may be put beside, `(P, n)`."""
    return torch.einsum("pij,ji->pj", ratio, rivals.chance)


def no_choice(scores: Tensor, rivals: Rivals) -> Tensor:
    """The critic as it is."""
    return scores.new_zeros(len(scores), 1)
