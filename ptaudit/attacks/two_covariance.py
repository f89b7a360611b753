"""Models of what a batch of one user's records shows, given other records of theirs.

Two-covariance model: a user's mean is drawn from N(mu, B), its records from N(mean, W), as in speaker verification
(Ioffe, ECCV 2006; Brummer & de Villiers, Odyssey 2010). In the basis where W is the identity and B is diagonal, the
mean of a user with n known records is known up to a variance v, and a sum of m other records of theirs is located at m
times that mean and scatters by m W + m^2 v, the other clients' batches and the noise.

`nearest` is the simple baseline: distance or angle to the mean of the known records.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from ptaudit.attacks.model_selection import Member, Rows, coordinates_of, rows_of
from ptaudit.attacks.nuisance_density import (
    NuisanceDensity,
    cholesky,
    fit_student,
    ledoit_wolf,
    refined,
    squared_distances,
    whitened,
)

NEAREST_SCALES = (4.0, 32.0, 256.0)
"""Sizes of a distance between 0 and 2 as twice a log-likelihood."""

HEAVY = 3.0
"""Degrees of freedom of the robust model."""

_FARTHEST = 2.0
"""Farthest mean of a user, in units of the median one, that the scatter between users is fitted on."""


@dataclass(frozen=True)
class Setting:
    """What of the users is in what is seen.

    Attributes:
        records: of the user in question, all rounds together (M).
        others: batches of other clients, all rounds together.
        batch: records in each of those.
        noise: standard deviation of the noise on all that is seen.
        learned: whether tokens are features and the view is learned, see `observed_density`.
    """

    records: int
    others: int
    batch: int
    noise: float
    learned: bool


@dataclass(frozen=True)
class UserBatches:
    """G batches, each of one user, and what is known of that user; the games are among the users of a set.

    Attributes:
        observed: sums over the rounds, `(R, G, k)`.
        known: mean token (or feature) of other records of the same user, `(R, G, k)`.
        count: number of those records, `(G,)`.
        batch: sum of the tokens of the batch itself, `(R, G, k)`: used of the adversary's own batches only.
        sets: batches whose users are each other's rivals, `(T, K)`.
        kept: which batches of the sets are played, `(T * K,)`; others only stand as rivals.
    """

    observed: Tensor
    known: Tensor
    count: Tensor
    batch: Tensor
    sets: Tensor
    kept: Tensor

    @property
    def secret(self) -> Tensor:
        """Place of the true user of each played batch."""
        sets, size = self.sets.shape
        return torch.arange(size).repeat(sets)[self.kept]

    def at(self, rows: Rows, coordinates: Tensor, twice: bool) -> UserBatches:
        """Some rows and coordinates; what is observed is held against either of two features."""
        k = self.observed.shape[-1]
        seen = coordinates % k if twice else coordinates
        known, batch = (coordinates_of(rows_of(some, rows), coordinates) for some in (self.known, self.batch))
        observed = coordinates_of(rows_of(self.observed, rows), seen)
        return UserBatches(observed, known, self.count, batch, self.sets, self.kept)

    def terms(self, seen: Tensor, expected: Tensor, variance: Tensor | None) -> list[Tensor]:
        """Squared distances and log-determinants of each game and candidate, `(R, games, K)` each.

        Args:
            seen: of each batch, `(R, G, d)`, in coordinates where what hides the user is white.
            expected: what is expected if the user of each batch were in question, `(R, G, d)`.
            variance: of that, `(R, G, d)`; None for ones.
        """
        z, y = seen[:, self.sets], expected[:, self.sets]
        if variance is None:
            distance = squared_distances(z.flatten(0, 1), y.flatten(0, 1)).view(*z.shape[:3], -1)
            log_det = torch.zeros_like(distance)
        else:
            spread = variance[:, self.sets]
            weighted = y / spread
            distance = (z * z) @ (1.0 / spread).mT - 2.0 * z @ weighted.mT + (weighted * y).sum(-1)[:, :, None]
            log_det = spread.log().sum(-1)[:, :, None].expand_as(distance)
        return [some.flatten(1, 2)[:, self.kept] for some in (distance.clamp_min(0.0), log_det)]


class UserMember(Member):
    """A member of the family whose candidates differ in what is known of them."""

    def scores(self, distances: Sequence[Tensor]) -> Tensor:
        """Log-likelihoods from squared distances and log-determinants."""
        distance, log_det = distances
        if math.isinf(self.nu):
            return -0.5 * (distance + log_det)
        return -0.5 * ((self.nu + self.dim) * (distance / self.nu).log1p() + log_det)


class Model(Protocol):
    """Fitted to some users."""

    def __call__(self, shown: UserBatches) -> list[Tensor]:
        """See `UserBatches.terms`."""


@dataclass(frozen=True)
class TwoCovariance:
    """Users and records of R rows.

    Attributes:
        mean: of all users, `(R, k)`.
        basis: takes W to the identity and B to a diagonal, `(R, k, k)`.
        back: its inverse.
        between: that diagonal, `(R, k)`.
    """

    mean: Tensor
    basis: Tensor
    back: Tensor
    between: Tensor

    def posterior(self, known: Tensor, count: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and variance of the users' means in the basis, from means of some records, `(R, G, k)` each."""
        error = (1.0 / count.to(known))[None, :, None]
        total = self.between[:, None] + error
        at = (known - self.mean[:, None]) @ self.basis.mT
        return at * (self.between[:, None] / total), self.between[:, None] * error / total


def fit_two_covariance(tokens: Tensor, users: Tensor, robust: bool) -> TwoCovariance:
    """Fit B and W by moments, on records `(R, n, k)` of users with at least two each, numbered from 0: `(n,)`.

    Both are shrunk as `ledoit_wolf` does, W then as `refined` does; or W is found by Student-t M-estimation. What the
    scatter of the users' means owes to W is taken off.
    """
    count = torch.bincount(users).to(tokens)
    means = tokens.new_zeros(len(tokens), len(count), tokens.shape[-1]).index_add_(1, users, tokens)
    means = means / count[:, None]
    within = (tokens - means[:, users]) * (count / (count - 1.0)).sqrt()[users, None]
    if robust:
        factor = _usual_size(fit_student(within, upto=HEAVY)[-1].factor, within)
    else:
        factor = refined(cholesky(ledoit_wolf(within)), within)
    centre = means.median(1).values if robust else means.mean(1)
    white = whitened(factor, means - centre[:, None])
    if robust:
        length = torch.linalg.vector_norm(white, dim=-1, keepdim=True).clamp_min(1e-200)
        white = white * (_FARTHEST * length.median(1, keepdim=True).values / length).clamp_max(1.0)
    values, vectors = torch.linalg.eigh(ledoit_wolf(white - white.mean(1, keepdim=True)))
    between = (values - (1.0 / count).mean()).clamp_min(0.0)
    eye = torch.eye(tokens.shape[-1], dtype=tokens.dtype, device=tokens.device).expand_as(factor)
    basis = vectors.mT @ torch.linalg.solve_triangular(factor, eye, upper=False)
    return TwoCovariance(centre, basis, factor @ vectors, between)


def _usual_size(factor: Tensor, points: Tensor) -> Tensor:
    """The factor at the size at which half of the points are as far out as half of a Gaussian (Wilson & Hilferty)."""
    k = points.shape[-1]
    middle = whitened(factor, points).square().sum(-1).median(1).values
    return factor * (middle / (k * (1.0 - 2.0 / (9.0 * k)) ** 3)).clamp_min(1e-200).sqrt()[:, None, None]


@dataclass(frozen=True)
class Summed:
    """What is seen is the sum of the records' tokens, but for a gain and an offset (1 and 0 where it adds up)."""

    two: TwoCovariance
    setting: Setting
    gain: Tensor
    offset: Tensor

    def __call__(self, shown: UserBatches) -> list[Tensor]:
        """See `Model`."""
        two, m = self.two, self.setting.records
        mean, variance = two.posterior(shown.known, shown.count)
        total = (m + self.setting.others * self.setting.batch) * two.mean
        seen = (shown.observed - self.offset[:, None]) / self.gain[:, None, None] - total[:, None]
        white = self._white()
        return shown.terms(
            seen @ (white @ two.basis).mT, m * mean @ white.mT, 1.0 + m**2 * variance @ white.square().mT
        )

    def _white(self) -> Tensor:
        """From the basis to one where all that hides the user's mean is white, and B is diagonal still.

        With noise the variances of the users' means are correlated there; the correlations are left out.
        """
        two, setting = self.two, self.setting
        hidden = setting.records + setting.others * (setting.batch**2 * two.between + setting.batch)
        if setting.noise == 0.0:
            return torch.diag_embed(torch.as_tensor(hidden, dtype=two.mean.dtype).rsqrt().expand_as(two.between))
        size = setting.noise / self.gain.abs()[:, None, None]
        scatter = (size * two.basis) @ (size * two.basis).mT
        scatter.diagonal(dim1=-2, dim2=-1).add_(hidden)
        factor = cholesky(scatter)
        half = whitened(factor, torch.diag_embed(two.between.sqrt()).mT).mT
        vectors = torch.linalg.eigh(half @ half.mT)[1]
        eye = torch.eye(factor.shape[-1], dtype=factor.dtype, device=factor.device).expand_as(factor)
        white: Tensor = vectors.mT @ torch.linalg.solve_triangular(factor, eye, upper=False)
        return white


@dataclass(frozen=True)
class Rest:
    """What is seen is a gain times the user's mean, and a rest whose density was fitted on the adversary's batches."""

    two: TwoCovariance
    gain: Tensor
    rest: NuisanceDensity

    def __call__(self, shown: UserBatches) -> list[Tensor]:
        """See `Model`."""
        expected = self.gain[:, None, None] * expected_mean(self.two, shown)
        return shown.terms(self.rest.whiten(shown.observed - self.rest.mean[:, None]), self.rest.whiten(expected), None)


def expected_mean(two: TwoCovariance, shown: UserBatches) -> Tensor:
    """Posterior mean of the users' means, less the mean of all, `(R, G, k)`."""
    return two.posterior(shown.known, shown.count)[0] @ two.back.mT


@dataclass(frozen=True)
class Nearest:
    """Distance, or one less the cosine, of what is seen and the mean of the known records; both from their means."""

    cosine: bool
    scale: float

    def __call__(self, shown: UserBatches) -> list[Tensor]:
        """See `Model`."""
        seen, known = (some - some.mean(1, keepdim=True) for some in (shown.observed, shown.known))
        lengths = [torch.linalg.vector_norm(some, dim=-1, keepdim=True).clamp_min(1e-200) for some in (seen, known)]
        if not self.cosine:
            lengths = [length.square().mean(1, keepdim=True).sqrt() for length in lengths]
        size = math.sqrt(0.5 * self.scale)
        return shown.terms(seen / lengths[0] * size, known / lengths[1] * size, None)
