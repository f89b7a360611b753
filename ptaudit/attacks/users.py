"""Whose records is a batch made of? The adversary's likelihoods, chosen and calibrated on users of its own."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ptaudit.attacks.calibration import uniform, unseen
from ptaudit.attacks.densities import sub_tokens
from ptaudit.attacks.model_selection import FittedMembers, FoldGames, Member, Rows, choose, coordinates_of, rows_of
from ptaudit.attacks.nuisance_density import GAUSSIAN, RADIAL_DEGREES, NuisanceDensity, cholesky, refined
from ptaudit.attacks.observed_density import gain_of
from ptaudit.attacks.two_covariance import (
    HEAVY,
    NEAREST_SCALES,
    Model,
    Nearest,
    Rest,
    Setting,
    Summed,
    TwoCovariance,
    UserBatches,
    UserMember,
    expected_mean,
    fit_two_covariance,
)

GAUSS = (GAUSSIAN, 30.0, 5.0)
"""Tails tried on the Gaussian model."""

NEAREST_TAILS = ((GAUSSIAN,),) * (2 * len(NEAREST_SCALES))

SUM_TAILS = (GAUSS, (HEAVY,))
"""Tails tried on the model of a sum, fitted by moments and robustly."""

REST_TAILS = (RADIAL_DEGREES,)
"""Tails tried on the density of the rest, where the view is learned."""


@dataclass(frozen=True)
class UserPosterior:
    """A fitted and calibrated adversary for R rows: chosen members with their coordinates and models."""

    fitted: FittedMembers[tuple[Tensor, Model]]
    twice: bool

    def answer(self, shown: UserBatches) -> tuple[Tensor, Tensor]:
        """Log-posteriors of every game and those of the null, `(R, games, K)` each, natural."""
        fitted, size = self.fitted, shown.sets.shape[1]
        out = shown.observed.new_empty(2, len(fitted.bits), len(shown.secret), size)
        for mine, member, (coordinates, model) in fitted.parts:
            scores = member.scores(model(shown.at(mine, coordinates, self.twice)))
            for which, calibration in enumerate((fitted.real.at(mine), fitted.shuffled.at(mine))):
                q = (calibration.slope[:, None, None] * scores).softmax(-1)
                share = calibration.share[:, None, None]
                out[which, list(mine)] = ((1.0 - share) * q + share / size).log()
        return out[0], out[1]


@dataclass(frozen=True)
class _Family:
    """Models that are fitted to users when they are first asked for: kinds of likelihoods of some coordinates.

    Attributes:
        tokens: records of users, `(R, n, k)`.
        users: number of the user of each, `(n,)`.
        setting: what is in a batch.
        tails: for each kind those that are tried.
        sets: coordinates.
    """

    tokens: Tensor
    users: Tensor
    setting: Setting
    tails: Sequence[Sequence[float]]
    sets: Sequence[Tensor]

    @property
    def members(self) -> list[Member]:
        """All that are chosen among; the place tells the coordinates and the kind."""
        kinds = [(j, nu) for j, some in enumerate(self.tails) for nu in some]
        return [UserMember(i * len(self.tails) + j, len(c), nu) for i, c in enumerate(self.sets) for j, nu in kinds]

    def coordinates(self, place: int) -> Tensor:
        """Those that a model is of."""
        return self.sets[place // len(self.tails)]

    def models(self, own: Tensor, shown: UserBatches) -> Callable[[int, Rows], Model]:
        """Fitted to some records and to batches of their users, by place and rows."""
        numbered = torch.unique(self.users[own], return_inverse=True)[1]

        @functools.cache
        def fitted(place: int, asked: Rows) -> Model:
            kind = place % len(self.tails)
            if kind < len(NEAREST_TAILS):
                return Nearest(kind % 2 == 0, NEAREST_SCALES[kind // 2])
            c = self.coordinates(place)
            seen = coordinates_of(rows_of(self.tokens, asked)[:, own], c)
            some = shown.at(asked, c, self.setting.learned)
            return _model(seen, numbered, some, kind - len(NEAREST_TAILS), self.setting)

        return fitted

    def games(self, model: Callable[[int, Rows], Model], shown: UserBatches) -> FoldGames:
        """What the models say of batches."""

        @functools.lru_cache(maxsize=1)
        def observed(which: int, asked: Rows) -> UserBatches:
            return shown.at(asked, self.sets[which], self.setting.learned)

        def distances(place: int, asked: Rows) -> list[Tensor]:
            return model(place, asked)(observed(place // len(self.tails), asked))

        size = shown.sets.shape[1]
        return FoldGames(distances, uniform(size, self.tokens), shown.secret, (shown.secret + 1) % size)


def fit_users(
    tokens: Tensor, users: Tensor, own: Sequence[tuple[Tensor, UserBatches]], setting: Setting, adversary: str
) -> UserPosterior:
    """Fit, choose and calibrate on the adversary's own users; see `model_selection`.

    Args:
        tokens: records of users with at least two each, `(R, n, k)`; features where the setting says so.
        users: number of the user of each, `(n,)`.
        own: the records of one half of the users with batches of theirs, and of the other.
        setting: what is in a batch.
        adversary: `likelihood-ratio` or `nearest`.
    """
    rows, n, k = tokens.shape
    # The angle to a user's mean is a likelihood too (von Mises-Fisher), and no record is too heavy for it.
    tails = NEAREST_TAILS if adversary == "nearest" else NEAREST_TAILS + SUM_TAILS + REST_TAILS * setting.learned
    half = k // 2 if setting.learned else k
    sets = [torch.arange(half)] if adversary == "nearest" else sub_tokens(half)
    family = _Family(tokens, users, setting, tails, [c + start for start in range(0, k, half) for c in sets])
    first, second = (family.games(family.models(*mine), theirs[1]) for mine, theirs in (own, own[::-1]))

    def refit() -> Callable[[int, Rows], tuple[Tensor, Model]]:
        final = family.models(torch.cat([records for records, _ in own]), joined([games for _, games in own]))
        return lambda place, asked: (family.coordinates(place), final(place, asked))

    hiding = setting.records - 1 + setting.others * setting.batch
    chosen = choose(([first], [second]), family.members, rows, unseen(hiding, n), refit)
    return UserPosterior(chosen, setting.learned)


def joined(games: Sequence[UserBatches]) -> UserBatches:
    """The batches of all, to fit on: without sets."""
    nothing = torch.empty(0, 1, dtype=torch.long)
    seen, known, batch = (torch.cat([getattr(g, name) for g in games], 1) for name in ("observed", "known", "batch"))
    return UserBatches(seen, known, torch.cat([g.count for g in games]), batch, nothing, nothing.flatten().bool())


def _model(tokens: Tensor, users: Tensor, shown: UserBatches, kind: int, setting: Setting) -> Model:
    """One of the kinds of a likelihood: Gaussian and robust sum, density of the rest."""
    two = fit_two_covariance(tokens, users, robust=kind == 1)
    if not setting.learned:
        return Summed(two, setting, torch.ones_like(two.mean[:, 0]), torch.zeros_like(two.mean))
    gain = gain_of(shown.batch, shown.observed)
    # A view that shows nothing of its batch has no gain: what is left then says nothing either.
    gain = torch.where(gain.abs() < 1e-100, 1.0, gain)
    if kind < len(SUM_TAILS):
        left = shown.observed - gain[:, None, None] * shown.batch
        return Summed(two, setting, gain, left.median(1).values if kind == 1 else left.mean(1))
    return _rest(two, setting.records * gain, shown, setting)


def _rest(two: TwoCovariance, gain: Tensor, shown: UserBatches, setting: Setting) -> Rest:
    """Its scatter is shrunk toward the shape that it would have if the view added up."""
    left = shown.observed - gain[:, None, None] * expected_mean(two, shown)
    variance = two.posterior(shown.known, shown.count)[1].mean(1)
    scatter = (two.back * (1.0 / setting.records + variance)[:, None]) @ two.back.mT * gain.square()[:, None, None]
    mean = left.mean(1)
    factor = refined(cholesky(scatter), left - mean[:, None])
    return Rest(two, gain, NuisanceDensity(mean, factor, RADIAL_DEGREES))
