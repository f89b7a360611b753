"""Which records become exposed, and from which epoch on it is more than chance."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ptaudit.stats.dynamics.apart import welch_t
from ptaudit.stats.dynamics.plane import FleetTrajectory, points
from ptaudit.stats.dynamics.regions import EXPOSED, quarters
from ptaudit.stats.dynamics.resampled import CERTAIN

Array = NDArray[np.float64]

_ROUNDING = 1e-12


@dataclass(frozen=True)
class Exposure:
    """When each of n records becomes exposed.

    A record is exposed from the first epoch on at which it is in the region `exposed` and its scores are apart (Welch's
    t of those in models with and without it) beyond chance: fewer than 5 % of the shuffles of membership have a larger
    t in ANY record at ANY epoch, so that without a signal nobody is called exposed with 95 %. With few models that
    takes much: who is not called exposed is not thereby hidden.

    Attributes:
        place: (n,), of that epoch in the order of the epochs; -1 for never.
        epoch: (n,), that epoch; NaN for never.
        p_values: (E, n), probability that any record at any epoch has scores so far apart without a signal.
    """

    place: NDArray[np.int64]
    epoch: Array
    p_values: Array


def exposure_of(trajectory: FleetTrajectory, largest: Array) -> Exposure:
    """From the fleet and the largest t of each shuffle, (P,)."""
    as_large = len(largest) - np.searchsorted(np.sort(largest), welch_t(trajectory) - _ROUNDING)
    p_values = np.asarray((1.0 + as_large) / (1.0 + len(largest)))
    found = (quarters(trajectory.models).place(points(trajectory)) == EXPOSED) & (p_values <= CERTAIN)
    place = np.where(found.any(0), found.argmax(0), -1)
    return Exposure(place, np.asarray(np.where(place >= 0, trajectory.epochs[place], np.nan)), p_values)
