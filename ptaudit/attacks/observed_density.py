"""Densities and class centres on any observation: fitted on batches of the adversary's own records, as they are shown.

Where a view does not add up (pruned or signed gradients, federated updates), what hides a record cannot be computed
from tokens. It plays batches of its own instead. A record has two features: its token, and what the view shows of the
record alone; what is shown of a batch is a gain times the feature of the target, and a rest. Which feature, which gain
and which density of the rest are learned, so an adversary who sees nothing finds a gain of nearly nothing.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ptaudit.attacks.model_selection import FOLD_GAMES, Rows, coordinates_of, roles, rows_of
from ptaudit.attacks.nuisance_density import (
    RADIAL_DEGREES,
    STUDENT_DEGREES,
    NuisanceDensity,
    fit_gaussian,
    next_student,
    refined,
)
from ptaudit.gradients.matrices import Matrices
from ptaudit.views.aggregate import Games, draw_games, draw_others, observe
from ptaudit.views.observation import Observation, observe_rounds
from ptaudit.views.view import View

FIT_GAMES = 1024
"""Most batches of its own on which the rest is fitted."""

GAMES_PER_RECORD = 0.25
"""Those batches for each record: more hold the same records again, and look surer of the rest than they are."""

BLUR = 1e-3
"""Least spread of the rest, in units of the features': a view may show the target and nothing else."""

TAILS: tuple[tuple[float, ...], ...] = (RADIAL_DEGREES, RADIAL_DEGREES, *((nu,) for nu in STUDENT_DEGREES))
"""The tails tried on each density of the rest: the Gaussian of sums of features as it is (but for the gain), that one
fitted to the rest, then the Student-t."""

_GAUSSIANS = 2


@dataclass(frozen=True)
class SummedRecords:
    """Records of which a batch shows the sum of their tokens, and noise on it.

    Attributes:
        tokens: `(R, n, k)`.
        noise: standard deviation of the noise on the sum, per coordinate.
    """

    tokens: Tensor
    noise: float

    @property
    def count(self) -> int:
        """Number of records."""
        return self.tokens.shape[1]

    def games(self, targets: Tensor, fillers: Tensor, games: Games, generator: torch.Generator) -> list[Tensor]:
        """What is shown in each round of games, `(R, G, k)`; see `aggregate.observe`."""
        return observe(self.tokens[:, targets], self.tokens[:, fillers], games, self.noise, generator)


@dataclass(frozen=True)
class ObservedRecords:
    """Some of the records of an observation, which are known by their place among these.

    Attributes:
        observation: of all records.
        records: which they are, `(n,)`.
    """

    observation: Observation
    records: Tensor

    @property
    def count(self) -> int:
        """Number of records."""
        return len(self.records)

    def at(self, places: slice | Tensor) -> ObservedRecords:
        """Some of these."""
        return ObservedRecords(self.observation, self.records[places])

    def batches(self, members: Tensor, generator: torch.Generator) -> Tensor:
        """What is shown of batches, `(r, G, m)` -> `(r, R, G, k)`."""
        return observe_rounds(self.observation, self.records[members], generator)

    def games(self, targets: Tensor, fillers: Tensor, games: Games, generator: torch.Generator) -> list[Tensor]:
        """What is shown in each round of games, `(R, G, k)`."""
        return list(self.batches(games.members(targets, fillers), generator))


ShownRecords = SummedRecords | ObservedRecords


def every_record(tokens: Tensor, noise: float, observation: Observation | None) -> ShownRecords:
    """All records of an observation; left out, of sums of tokens `(R, N, k)` and noise."""
    return (
        SummedRecords(tokens, noise)
        if observation is None
        else ObservedRecords(observation, torch.arange(tokens.shape[1]))
    )


@dataclass(frozen=True)
class Effort:
    """How an adversary plays against itself: most candidates, and batches in both folds and roles together."""

    candidates: int = 256
    batches: int = 4 * FOLD_GAMES


@dataclass(frozen=True)
class RoleGames:
    """Games among some records, half of whom are candidates, and half hide them.

    Attributes:
        targets: the candidates, `(K,)`.
        fillers: those who hide them.
        games: the draws.
        views: what is shown in each round, `(R, G, k)`.
    """

    targets: Tensor
    fillers: Tensor
    games: Games
    views: list[Tensor]


def in_both_roles(records: ShownRecords, effort: Effort, view: View, generator: torch.Generator) -> Iterator[RoleGames]:
    """Half of some records hold the candidates, the other half fills the batches; and the other way round."""
    half = records.count // 2
    some = min(half, effort.candidates)
    for known, fillers in roles(torch.arange(half), torch.arange(half, 2 * half)):
        games = draw_games(some, half, max(1, effort.batches // 4 // some), view, generator)
        yield RoleGames(known[:some], fillers, games, records.games(known[:some], fillers, games, generator))


@dataclass(frozen=True)
class Gained:
    """Density of the rest when a gain times a candidate's feature is taken out, for R rows."""

    rest: NuisanceDensity
    gain: Tensor

    def distances(self, views: Tensor, candidates: Tensor) -> Tensor:
        """See `NuisanceDensity.distances`."""
        return self.rest.distances(views, self.gain[:, None, None] * candidates)

    def at(self, rows: Sequence[int]) -> Gained:
        """The density of some rows."""
        return Gained(self.rest.at(rows), self.gain[list(rows)])


def blurred(tokens: Tensor, view: View, observation: Observation) -> tuple[Tensor, View, Observation]:
    """A view of one record without noise for an adversary who is wrong about it: tokens of unit size, a little noise.

    What it believes leaves no room for doubt; with this it names the nearest candidate.
    """
    size = torch.linalg.vector_norm(tokens, dim=-1).median(1).values.clamp_min(1e-200)
    return tokens / size[:, None, None], replace(view, noise_std=BLUR), _Sized(observation, size)


@dataclass(frozen=True)
class _Sized:
    """An observation in units of a size for each row."""

    observation: Observation
    size: Tensor

    @property
    def random(self) -> bool:
        """See `Observation.random`."""
        return self.observation.random

    def observe(self, members: Tensor, generator: torch.Generator) -> Tensor:
        """See `Observation.observe`."""
        return self.observation.observe(members, generator) / self.size[:, None, None]

    def read(self, members: Tensor, generator: torch.Generator) -> Iterator[Matrices]:
        """See `Observation.read`; matrices have the size that they have."""
        return self.observation.read(members, generator)


def features(tokens: Tensor, observation: Observation, generator: torch.Generator) -> Tensor:
    """The two features of every record side by side: its token and what is shown of it alone, `(R, N, 2k)`."""
    return torch.cat([tokens, alone(tokens.shape[1], observation, generator).to(tokens)], -1)


def alone(records: int, observation: Observation, generator: torch.Generator) -> Tensor:
    """What an observation shows of each record in a batch of its own, `(R, N, k)`."""
    return observation.observe(torch.arange(records)[:, None], generator)


def doubled(views: Sequence[Tensor]) -> list[Tensor]:
    """What is shown, twice: to be held against each of the two features."""
    return [torch.cat([view, view], -1) for view in views]


def fit_games(records: int, per_record: float = GAMES_PER_RECORD) -> int:
    """Number of batches of its own records on which it fits what is shown."""
    return min(FIT_GAMES, max(32, int(per_record * records)))


def gain_of(known: Tensor, shown: Tensor) -> Tensor:
    """Gain of what is shown in the features of the targets, `(R, G, d)` each: `(R,)`.

    Least squares in which games weigh the less the larger they are: a few giants do not decide it.
    """
    known = known - known.median(1, keepdim=True).values
    shown = shown - shown.median(1, keepdim=True).values
    weight = _inverse_size(known) * _inverse_size(shown)
    fitted = (weight * (known * shown).sum(-1)).sum(1)
    return fitted / (weight * known.square().sum(-1)).sum(1).clamp_min(1e-200)


def _inverse_size(points: Tensor) -> Tensor:
    """One over the length of each point, `(R, G, d)` -> `(R, G)`; points far smaller than most count as small ones."""
    size: Tensor = torch.linalg.vector_norm(points, dim=-1)
    return 1.0 / torch.maximum(size, 0.01 * size.mean(1, keepdim=True)).clamp_min(1e-100)


@dataclass(frozen=True)
class FittingBatches:
    """Batches of the adversary's own records, as they are shown, on which densities of the rest are fitted.

    Attributes:
        tokens: features of its records, `(R, n, 2k)`.
        targets: the target of each batch, `(G,)`.
        shown: features of what is shown of it, `(R, G, 2k)`.
        seed: of the noise that blurs them.
    """

    tokens: Tensor
    targets: Tensor
    shown: Tensor
    seed: int

    @classmethod
    def of(cls, tokens: Tensor, own: ObservedRecords, size: int, seed: int) -> FittingBatches:
        """Batches of so many of some records, whose features are `(R, n, 2k)`."""
        generator = torch.Generator().manual_seed(seed)
        members = draw_others(tokens.shape[1], fit_games(tokens.shape[1]), size, generator)
        (shown,) = doubled(list(own.batches(members[None], generator)))
        return cls(tokens, members[:, 0].to(tokens.device), shown, seed)

    def left(self, coordinates: Tensor, rows: Rows) -> tuple[Tensor, Tensor]:
        """The gain of the target, `(R,)`, and what is left without it, a little blurred, `(R, G, d)`."""
        known, seen = (coordinates_of(rows_of(some, rows), coordinates) for some in (self.tokens, self.shown))
        target = known[:, self.targets]
        gain = gain_of(target, seen)
        blur = BLUR * (gain * target.std((1, 2))).abs().clamp_min(1e-200)
        noise = torch.randn(seen.shape, generator=torch.Generator().manual_seed(self.seed)).to(seen)
        return gain, seen - gain[:, None, None] * target + blur[:, None, None] * noise

    def fits(
        self, sets: Sequence[Tensor], start: Callable[[int, Rows], NuisanceDensity] | None
    ) -> Callable[[int, Rows], Gained]:
        """Densities of the rest fitted when they are first asked for, by place and rows; see `densities.fits`.

        Args:
            sets: coordinates of the features.
            start: densities of sums of the others' features at the same places: an estimate is shrunk toward the shape
                of these, and is right with few batches where the view nearly adds up. None where there are no others.
        """
        kinds = len(TAILS)

        @functools.cache
        def rest(which: int, rows: Rows) -> tuple[Tensor, Tensor]:
            return self.left(sets[which], rows)

        @functools.cache
        def fitted(place: int, rows: Rows) -> Gained:
            kind = place % kinds
            gain, left = rest(place // kinds, rows)
            if start is None:  # nothing but the target, and what is random in the view
                if kind < _GAUSSIANS:
                    return Gained(fit_gaussian(left, 1, 0.0, refine=kind == 1), gain)
                before = fitted(place - 1, rows).rest if kind > _GAUSSIANS else None
                return Gained(next_student(left, before, STUDENT_DEGREES[kind - _GAUSSIANS]), gain)
            if kind == 0:
                shape = start(place + 1, rows)
                factor = shape.factor * gain.abs().clamp_min(1e-200)[:, None, None]
                return Gained(NuisanceDensity(gain[:, None] * shape.mean, factor, RADIAL_DEGREES), gain)
            shape = _moved(start(place, rows), left)
            if kind == 1:
                mean = left.mean(1)
                return Gained(NuisanceDensity(mean, refined(shape.factor, left - mean[:, None]), RADIAL_DEGREES), gain)
            return Gained(next_student(left, shape, STUDENT_DEGREES[kind - _GAUSSIANS]), gain)

        return fitted


def _moved(shape: NuisanceDensity, points: Tensor) -> NuisanceDensity:
    """A density of the same shape at the place and of the size of some points."""
    centre = points.median(1).values
    spread = shape.whiten(points - centre[:, None]).square().sum(-1).median(1).values / points.shape[-1]
    return NuisanceDensity(centre, shape.factor * spread.clamp_min(1e-200).sqrt()[:, None, None], shape.tails)
