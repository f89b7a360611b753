"""The densities that a likelihood ratio chooses from: coordinates, tails, and the records they are fitted to."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ptaudit.attacks.model_selection import Member, Rows, coordinates_of, rows_of
from ptaudit.attacks.nuisance_density import (
    GAUSSIAN,
    PLAIN_DEGREES,
    RADIAL_DEGREES,
    STUDENT_DEGREES,
    NuisanceDensity,
    fit_gaussian,
    fit_noise,
    next_student,
)
from ptaudit.attacks.observed_density import TAILS, FittingBatches, Gained, ObservedRecords
from ptaudit.views.aggregate import add_noise, draw_others, sums
from ptaudit.views.view import View

SUB_TOKENS = (16, 64)
"""Sizes of the sub-tokens in the family, beside all coordinates."""

_GAUSSIANS = 2

Density = NuisanceDensity | Gained


@dataclass(frozen=True)
class Own:
    """What an adversary fits densities to.

    A density has a place: set of coordinates by set, tail by tail within a set; those that are fitted to further
    records too come after all others, in the same order.

    Attributes:
        tokens: of its own records, `(R, n, k)`; where they are observed, their features, see `observed_density`.
        view: batch size, rounds and noise.
        observed: its own records as batches of them are shown, where a view is more than the sum of tokens and noise.
        further: tokens of records of another kind, `(R, M, k)`; None where it has none.
    """

    tokens: Tensor
    view: View
    observed: ObservedRecords | None = None
    further: Tensor | None = None

    @functools.cached_property
    def sets(self) -> list[Tensor]:
        """Coordinates to look at; of features those of the one, then those of the other."""
        k = self.tokens.shape[-1]
        if self.observed is not None:
            return [c + start for start in (0, k // 2) for c in sub_tokens(k // 2)]
        return sub_tokens(k) if self.view.others else [torch.arange(k)]

    @property
    def tails(self) -> Sequence[tuple[float, ...]]:
        """The tails to try on each density of a set of coordinates."""
        return tails_of(self.view) if self.observed is None else TAILS

    @property
    def places(self) -> int:
        """Number of densities that are fitted to its own records alone."""
        return len(self.sets) * len(self.tails)

    def members(self, wider: bool) -> list[Member]:
        """All to choose from."""
        tails, start = self.tails, self.places * wider
        return [
            Member(start + i * len(tails) + j, len(c), nu)
            for i, c in enumerate(self.sets)
            for j, t in enumerate(tails)
            for nu in t
        ]

    def widest(self, wider: bool) -> Member:
        """The normal density of all coordinates whose scatter is shrunk to its own shape."""
        return Member(self.places * (1 + wider) - len(self.tails) + 1, len(self.sets[-1]), GAUSSIAN)

    def coordinates(self, place: int) -> Tensor:
        """The coordinates that a density is of."""
        return self.sets[place % self.places // len(self.tails)]

    def densities(self, fold: slice, seed: int) -> Callable[[int, Rows], Density]:
        """Those fitted to some of its own records, by place and rows, when they are first asked for."""
        own, view, places = self.tokens[:, fold], self.view, self.places
        if self.observed is not None:
            adds_up = (
                densities_of(own, replace(view, clip=None, noise_std=0.0), self.sets, seed) if view.others else None
            )
            return FittingBatches.of(own, self.observed.at(fold), view.records, seed).fits(self.sets, adds_up)
        alone = densities_of(own, view, self.sets, seed)
        if self.further is None:
            return alone
        wider = densities_of(torch.cat([own, self.further], 1), view, self.sets, seed)
        return lambda place, rows: alone(place, rows) if place < places else wider(place - places, rows)


def sub_token(k: int, size: int) -> Tensor:
    """`size` coordinates spread evenly over k. Of a 16x16 token, 16 of them are its diagonal."""
    return torch.linspace(0, k - 1, size).round().long()


def sub_tokens(k: int) -> list[Tensor]:
    """Coordinate sets of the family."""
    return [sub_token(k, size) for size in SUB_TOKENS if size < k] + [torch.arange(k)]


def densities_of(
    tokens: Tensor, view: View, sets: Sequence[Tensor], seed: int
) -> Callable[[int, Rows], NuisanceDensity]:
    """Densities fitted on the given tokens `(R, n, k)` when they are first asked for, by place and rows.

    Places are set by set of coordinates; within a set, see `tails_of`. A Student-t starts from the one before it.
    """
    kinds = len(tails_of(view))

    @functools.cache
    def seen(place: int, rows: Rows) -> Tensor:
        return coordinates_of(rows_of(tokens, rows), sets[place // kinds])

    @functools.cache
    def resampled(place: int, rows: Rows) -> Tensor:
        generator = torch.Generator().manual_seed(seed)
        n = tokens.shape[1]
        drawn = draw_others(n, min(1024, max(256, n)), view.others, generator)
        return add_noise(sums(seen(place, rows), drawn), view.noise_std, generator)

    @functools.cache
    def fitted(place: int, rows: Rows) -> NuisanceDensity:
        if view.others == 0:
            return fit_noise(rows_of(tokens, rows), view.noise_std)
        kind = place % kinds
        first = place - kind
        if kind < _GAUSSIANS:
            return fit_gaussian(seen(first, rows), view.others, view.noise_std, refine=kind == 1)
        before = fitted(place - 1, rows) if kind > _GAUSSIANS else None
        return next_student(resampled(first, rows), before, STUDENT_DEGREES[kind - _GAUSSIANS])

    return fitted


def tails_of(view: View) -> list[tuple[float, ...]]:
    """The tails to try on each density of a set of coordinates: two Gaussians, then the Student-t."""
    if view.others == 0:
        return [(GAUSSIAN,)]
    gaussians = [PLAIN_DEGREES, RADIAL_DEGREES]
    if view.clip is not None:
        return gaussians  # the tails of clipped records are cut
    return [*gaussians, *((nu,) for nu in STUDENT_DEGREES)]
