"""How far a record's scores in models with it and without it are apart."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ptaudit.stats.dynamics.plane import FleetTrajectory, sides

Array = NDArray[np.float64]

_LEAST = 1e-12


def effect(trajectory: FleetTrajectory) -> Array:
    """Difference of the mean scores with and without each record, in its spreads, (E, n).

    Finer than TPR - FPR, which is 1 for all that is far away: the measure of final risk that records are ranked by.
    """
    outside, inside = sides(trajectory)
    return _ratio(inside.mean - outside.mean, (inside.variance + outside.variance) / 2.0)


def welch_t(trajectory: FleetTrajectory) -> Array:
    """Welch's t of the same difference, (E, n)."""
    outside, inside = sides(trajectory)
    return _ratio(inside.mean - outside.mean, inside.variance / inside.count + outside.variance / outside.count)


def _ratio(difference: Array, variance: Array) -> Array:
    """Difference over spread; a spread of nothing counts as a trifle of what is common."""
    least = _LEAST * variance.mean() + np.finfo(np.float64).tiny
    return np.asarray(difference / np.sqrt(np.maximum(variance, least)))
