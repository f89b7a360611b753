"""Which records become exposed, and from which epoch on it is more than chance."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ptaudit.stats.dynamics.plane import FleetTrajectory, points, sides
from ptaudit.stats.dynamics.regions import EXPOSED, quarters
from ptaudit.stats.dynamics.resampled import CERTAIN, PERMUTATIONS, shuffled

Array = NDArray[np.float64]

_LEAST = 1e-12


@dataclass(frozen=True)
class Exposure:
    """When each of n records becomes exposed.

    Attributes:
        place: (n,), of the first epoch at which it is, in the order of the epochs; -1 for never.
        epoch: (n,), that epoch; NaN for never.
        p_values: (E, n), probability that any record at any epoch has scores so far apart without a signal.
    """

    place: NDArray[np.int64]
    epoch: Array
    p_values: Array


def exposure(trajectory: FleetTrajectory, *, seed: int, permutations: int = PERMUTATIONS) -> Exposure:
    """The first epoch at which a record is in the region `exposed` and its scores are apart beyond chance.

    Apart: Welch's t of the record's scores in models with and without it. Beyond chance: fewer than 5 % of the
    shuffles of membership (see `resampled`) have a larger t in ANY record at ANY epoch, so that without a signal nobody
    is called exposed with 95 %. With few models that takes much; who is not called exposed is not thereby hidden.

    Args:
        trajectory: the fleet.
        seed: of the shuffles.
        permutations: number of shuffles, at least 19.

    Raises:
        ValueError: for fewer than 8 models, or fewer than 19 shuffles.
    """
    if permutations < round(1.0 / CERTAIN) - 1:
        raise ValueError(f"5 % need 19 shuffles, not {permutations}")
    apart = _t(trajectory)
    largest = np.array([_t(one).max() for one in shuffled(trajectory, seed=seed, permutations=permutations)])
    as_large = permutations - np.searchsorted(np.sort(largest), apart - _LEAST)
    p_values = (1.0 + as_large) / (1.0 + permutations)
    there = quarters(trajectory.models).place(points(trajectory)) == EXPOSED
    found = there & (p_values <= CERTAIN)
    place = np.where(found.any(0), found.argmax(0), -1)
    epoch = np.where(place >= 0, trajectory.epochs[place], np.nan)
    return Exposure(place, epoch, np.asarray(p_values))


def effect(trajectory: FleetTrajectory) -> Array:
    """How far a record's mean scores with and without it are apart, in its spreads, (E, n).

    Finer than TPR - FPR, which is 1 for all that is far away: the measure of final risk that records are ranked by.
    """
    outside, inside = sides(trajectory)
    return _ratio(inside.mean - outside.mean, (inside.variance + outside.variance) / 2.0)


def _t(trajectory: FleetTrajectory) -> Array:
    """Welch's t of each record at each epoch, (E, n)."""
    outside, inside = sides(trajectory)
    return _ratio(inside.mean - outside.mean, inside.variance / inside.count + outside.variance / outside.count)


def _ratio(difference: Array, variance: Array) -> Array:
    """Difference over spread; a spread of nothing counts as a trifle of what is common."""
    least = _LEAST * variance.mean() + np.finfo(np.float64).tiny
    return np.asarray(difference / np.sqrt(np.maximum(variance, least)))
