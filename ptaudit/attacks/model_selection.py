"""How an adversary prepares: it plays against itself, chooses a member of its family and calibrates it.

Its records are cut in two folds; what is fitted on one plays on the other, and the other way round. The member is
chosen where the first of them was fitted with the whole family; the chosen one is calibrated on both.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Generic, TypeVar

import torch
from torch import Tensor

from ptaudit.attacks.calibration import (
    COARSE,
    FINE,
    Calibration,
    at,
    calibrate,
    cautious,
    log_totals,
    mean_bits,
    points,
    shifted,
)
from ptaudit.attacks.nuisance_density import log_density

FOLD_GAMES = 256
"""Games the adversary plays against itself, per fold and role."""

Rows = tuple[int, ...]
T = TypeVar("T")


@dataclass(frozen=True)
class Member:
    """A member of the family: its fit (by place), the number of coordinates it looks at and its tail."""

    place: int
    dim: int
    nu: float

    def scores(self, distances: Sequence[Tensor]) -> Tensor:
        """Log-likelihoods of all that the secret may be, summed over the rounds: `(R, G, K)`."""
        return sum_of(log_density(distance, self.nu, self.dim) for distance in distances)


@dataclass(frozen=True)
class FoldGames:
    """Games the adversary plays against itself on one fold, fitted on the other.

    Attributes:
        distances: squared distances of some rows under the fit at a place, `(R, G, K)` for each round.
        prior: probabilities of the secret, `(K,)`.
        secret: index of the true secret, `(G,)`.
        wrong: index of the one that shuffling puts in its place, `(G,)`.
        candidates: indices of the candidates among the adversary's records, `(K,)`, where they are records.
        members: and of the records of each batch, `(r, G, m)`.
    """

    distances: Callable[[int, Rows], Sequence[Tensor]]
    prior: Tensor
    secret: Tensor
    wrong: Tensor
    candidates: Tensor | None = None
    members: Tensor | None = None

    def by_member(self, family: Sequence[Member], rows: Rows) -> Tensor:
        """Mean bits of every member and coarse calibration, `(R, members, slopes, shares)`."""
        found = []
        for place, members in groupby(family, key=lambda member: member.place):
            distances = self.distances(place, rows)
            found += [mean_bits(m.scores(distances), self.prior, self.secret, COARSE) for m in members]
        return torch.stack(found, 1)

    def fine(self, member: Member, rows: Rows) -> tuple[Tensor, Tensor]:
        """Mean bits of every calibration, `(R, slopes, shares)`, with the true and with the shuffled secret."""
        low = shifted(member.scores(self.distances(member.place, rows)))
        totals = log_totals(low, self.prior, FINE)
        return points(at(low, self.secret), totals, FINE), points(at(low, self.wrong), totals, FINE)


@dataclass(frozen=True)
class FittedMembers(Generic[T]):
    """What was chosen for R rows, and fitted again on all of the adversary's records.

    Attributes:
        parts: rows that chose the same member, the member, and its fit.
        real: calibration on games with the true secret.
        shuffled: calibration of the same member on games with the secret shuffled, for the null.
        bits: mean bits of the choice in the games on its own records, `(R,)`.
    """

    parts: tuple[tuple[Rows, Member, T], ...]
    real: Calibration
    shuffled: Calibration
    bits: Tensor

    def best(self, groups: Sequence[Sequence[int]]) -> list[int]:
        """Of every group of rows the one with most bits."""
        return [max(group, key=lambda row: float(self.bits[row])) for group in groups]


def choose(
    games: tuple[Sequence[FoldGames], Sequence[FoldGames]],
    family: Sequence[Member],
    rows: int,
    least_share: float,
    refit: Callable[[], Callable[[int, Rows], T]],
) -> FittedMembers[T]:
    """Choose on the games of the first fold, calibrate on those of both, fit again on all records.

    Args:
        games: those of one fold, with the whole family fitted on the other; and those of the other fold, of which only
            what was chosen is asked for.
        family: the members, those of one fit side by side.
        rows: number of rows R.
        least_share: smallest share of the prior, see `calibration.unseen`.
        refit: fits on all records, by place and rows.
    """
    first, second = games
    by_member = torch.stack([g.by_member(family, tuple(range(rows))) for g in first]).mean(0).flatten(2).amax(2)
    choice = cautious(by_member, by_member.new_tensor([1.0 / m.nu for m in family])).tolist()
    found = torch.empty(5, rows, dtype=by_member.dtype, device=by_member.device)
    parts = []
    for chosen in sorted(set(choice)):
        member, mine = family[chosen], tuple(row for row in range(rows) if choice[row] == chosen)
        played = [g.fine(member, mine) for g in (*first, *second)]
        bits, wrong = (torch.stack(same, -1) for same in zip(*played))
        real, shuffled = calibrate(bits, least_share), calibrate(wrong, least_share)
        best = bits.mean(-1).flatten(1).amax(1)
        found[:, list(mine)] = torch.stack([real.slope, real.share, shuffled.slope, shuffled.share, best])
        parts.append((mine, member))
    final = refit()
    fitted = tuple((mine, member, final(member.place, mine)) for mine, member in parts)
    return FittedMembers(fitted, Calibration(*found[:2]), Calibration(*found[2:4]), found[4])


def roles(first: T, second: T) -> tuple[tuple[T, T], tuple[T, T]]:
    """Two things in both roles."""
    return (first, second), (second, first)


def sum_of(terms: Iterable[Tensor]) -> Tensor:
    """Sum without a start value."""
    iterator = iter(terms)
    total = next(iterator)
    for term in iterator:
        total = total + term
    return total


def rows_of(tokens: Tensor, rows: Rows) -> Tensor:
    """Some rows, without a copy where they are all."""
    return tokens if len(rows) == len(tokens) else tokens[list(rows)]


def coordinates_of(tokens: Tensor, coordinates: Tensor) -> Tensor:
    """Some coordinates, without a copy where they are all."""
    return tokens if len(coordinates) == tokens.shape[-1] else tokens[..., coordinates]
