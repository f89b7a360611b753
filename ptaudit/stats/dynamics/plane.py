"""Where each record stands on the plane of false-positive and true-positive rates, epoch by epoch.

A record's TPR is the probability that a model trained on it scores it above the decision threshold, its FPR that of a
model that was not. There is one threshold an epoch for all records, the score that a given share of all pairs of a
model and a record outside it exceeds: easily recognised records then differ from merely conspicuous ones by their own
FPR, and the mean FPR stays where it is. (Chen et al., arXiv 2507.23291, follow records on this plane with LiRA's
scores; how they set the threshold is not known here.)

Each record is in about half of N models, so that shares of models go in steps of 2/N. From `COUNTED` models on a rate
is such a share with its exact binomial interval. With fewer it is read off a Gaussian fitted to the record's scores on
each side, Phi(z) with z = (mean - threshold) / spread, and it is as true as that assumption. The interval is
z (1 - 1/(4 nu)) +- q sqrt(1/k + z^2/(2 nu)) on the normal scale, of k models and nu = k - 1: the noncentral t
distribution of z sqrt(k) inverted by the approximation of Jennett and Welch (1939), which covers 95 to 97.5 % from 4
models on. Either takes a record's models as independent and the threshold, which has all pairs behind it, as known.

Scores should be near Gaussian over models: signals as they are, or those of an offline attack. Log-likelihood ratios of
two spreads (attacks called online) have a long tail, and see `resampled` for what chance makes of them.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.special import betaincinv, ndtr

from ptaudit.stats.simultaneous import Z

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]

COUNTED = 64
"""Fewest models of which rates of single records are counted, not fitted."""

MIN_MODELS = 3
"""Fewest models on each side of a record: a spread from two says nothing."""

_LEAST = 1e-20
"""Least variance of a record's scores, as a share of their mean square, that is more than rounding."""


@dataclass(frozen=True)
class FleetTrajectory:
    """Scores of n records in N models at E epochs.

    Attributes:
        scores: (E, N, n), higher = more likely a member; no model its own reference (`attacks.membership.fleet`).
        inside: (N, n), whether a model was trained on a record.
        outside: (N, n), whether it was not; a model in neither is not looked at for the record.
        epochs: (E,), ascending, any unit of time.
        fpr: share of all pairs outside that is above the decision threshold, between 0 and 1.
    """

    scores: Array
    inside: Mask
    outside: Mask
    epochs: Array
    fpr: float = 0.1

    def __post_init__(self) -> None:
        """Raises: ValueError: for shapes, epochs, rate or scores that cannot be, or too few models of a record."""
        shape = self.scores.shape
        if len(shape) != 3 or self.inside.shape != shape[1:] or self.outside.shape != shape[1:]:
            masks = f"{self.inside.shape} and {self.outside.shape}"
            raise ValueError(f"scores (epochs, models, records) {shape} need masks (models, records), not {masks}")
        if self.epochs.shape != shape[:1] or not (np.diff(self.epochs) > 0).all():
            raise ValueError(f"scores of {shape[0]} epochs need as many ascending epochs, not {self.epochs.tolist()}")
        if (self.inside & self.outside).any():
            raise ValueError("a model cannot have been trained on a record and not")
        if not 0.0 < self.fpr < 1.0:
            raise ValueError(f"the false-positive rate must be between 0 and 1, not {self.fpr}")
        fewest = int(min(mask.sum(0).min(initial=shape[1]) for mask in (self.inside, self.outside)))
        if fewest < MIN_MODELS:
            raise ValueError(f"a record needs {MIN_MODELS} models with it and {MIN_MODELS} without, one has {fewest}")
        if not np.isfinite(self.scores[:, self.inside | self.outside]).all():
            raise ValueError("scores that are not finite numbers")

    @property
    def models(self) -> int:
        """Number of models N."""
        return int(self.inside.shape[0])

    @property
    def records(self) -> int:
        """Number of records n."""
        return int(self.inside.shape[1])

    def some(self, models: NDArray[np.int64]) -> FleetTrajectory:
        """The same of some of the models."""
        return replace(self, scores=self.scores[:, models], inside=self.inside[models], outside=self.outside[models])

    def until(self, place: int) -> FleetTrajectory:
        """The same up to the epoch at a place, with it."""
        return replace(self, scores=self.scores[: place + 1], epochs=self.epochs[: place + 1])


@dataclass(frozen=True)
class Plane:
    """Points of n records at E epochs.

    Attributes:
        points: (E, n, 2), FPR and TPR.
        lo: (E, n, 2), lower ends of pointwise 95 % intervals.
        hi: (E, n, 2), upper ends.
        epochs: (E,).
        models: number of models N.
        method: where a record's rates come from, in words.
    """

    points: Array
    lo: Array
    hi: Array
    epochs: Array
    models: int
    method: str

    @property
    def resolution(self) -> float:
        """The least difference of two shares of the models on one side of a record, 2/N."""
        return 2.0 / self.models

    @property
    def advantage(self) -> Array:
        """TPR - FPR, (E, n)."""
        return np.asarray(self.points[..., 1] - self.points[..., 0])


@dataclass(frozen=True)
class Side:
    """Scores of n records over the models on one side of each, at E epochs.

    Attributes:
        count: (n,) models.
        mean: (E, n).
        variance: (E, n).
        above: (E, n), models with a score above the threshold.
        varies: (E, n), whether the scores differ.
        z: (E, n), mean less threshold in spreads; 0 where scores do not differ.
    """

    count: Array
    mean: Array
    variance: Array
    above: Array
    varies: Mask
    z: Array


def thresholds(trajectory: FleetTrajectory) -> Array:
    """The score of each epoch, (E,), that a share `fpr` of the pairs outside is above."""
    pairs = trajectory.scores[:, trajectory.outside]
    return np.asarray(np.quantile(pairs, 1.0 - trajectory.fpr, axis=1, method="higher"))


def sides(trajectory: FleetTrajectory) -> tuple[Side, Side]:
    """The models without each record, and those with it."""
    cuts = thresholds(trajectory)
    outside, inside = (_side(trajectory.scores, mask, cuts) for mask in (trajectory.outside, trajectory.inside))
    return outside, inside


def points(trajectory: FleetTrajectory) -> Array:
    """FPR and TPR of each record at each epoch, (E, n, 2)."""
    counted = trajectory.models >= COUNTED
    return np.stack([_rate(side, counted) for side in sides(trajectory)], axis=-1)


def plane(trajectory: FleetTrajectory) -> Plane:
    """The same with intervals."""
    counted, both = trajectory.models >= COUNTED, sides(trajectory)
    value = np.stack([_rate(side, counted) for side in both], axis=-1)
    ends = [_interval(side, counted) for side in both]
    lo, hi = (np.stack([end[which] for end in ends], axis=-1) for which in (0, 1))
    few = f"Gaussians fitted to {trajectory.models} models, fewer than {COUNTED}"
    method = f"shares of {trajectory.models} models" if counted else few
    return Plane(value, lo, hi, trajectory.epochs, trajectory.models, method)


def _side(scores: Array, mask: Mask, cuts: Array) -> Side:
    share, scores = mask.astype(np.float64), np.where(mask, scores, 0.0)
    count = share.sum(0)
    mean = scores.sum(1) / count
    variance = np.einsum("emn,mn->en", np.square(scores - mean[:, None]), share) / (count - 1.0)
    above = np.einsum("emn,mn->en", scores > cuts[:, None, None], share)
    varies = variance > _LEAST * np.square(mean)
    spread = np.sqrt(np.where(varies, variance, 1.0))
    return Side(count, mean, variance, above, varies, np.where(varies, (mean - cuts[:, None]) / spread, 0.0))


def _rate(side: Side, counted: bool) -> Array:
    return np.asarray(np.where(side.varies & (not counted), ndtr(side.z), side.above / side.count))


def _interval(side: Side, counted: bool) -> tuple[Array, Array]:
    k, right = side.count, side.above
    lo = np.where(right > 0, betaincinv(np.maximum(right, 1.0), k - right + 1.0, 0.025), 0.0)
    hi = np.where(right < k, betaincinv(right + 1.0, np.maximum(k - right, 1.0), 0.975), 1.0)
    if counted:
        return lo, hi
    centre, half = side.z * (1.0 - 0.25 / (k - 1.0)), Z * np.sqrt(1.0 / k + np.square(side.z) / (2.0 * (k - 1.0)))
    return np.where(side.varies, ndtr(centre - half), lo), np.where(side.varies, ndtr(centre + half), hi)
