"""How far a record's scores in models with it and without it are apart."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ptaudit.stats.dynamics.plane import FleetTrajectory, sides
from ptaudit.stats.moderated import moderated

Array = NDArray[np.float64]

_LEAST = 1e-12


def effect(trajectory: FleetTrajectory) -> Array:
    """Difference of the mean scores with and without each record, in its spreads, (E, n).

    Finer than TPR - FPR, which is 1 for all that is far away: the measure of final risk that records are ranked by. The
    spreads lend each other strength (`stats.moderated`): those of few models each would rule the ranks. (Location30,
    logit-scaled confidences, two fleets of 16: their effects have rank correlation 0.81, without that 0.75.)
    """
    outside, inside = sides(trajectory)
    dof = inside.count + outside.count - 2.0
    pooled = ((inside.count - 1.0) * inside.variance + (outside.count - 1.0) * outside.variance) / dof
    common = [moderated(np.maximum(one, _least(one)), dof) for one in pooled]
    return np.asarray((inside.mean - outside.mean) / np.sqrt(np.stack(common)))


def welch_t(trajectory: FleetTrajectory) -> Array:
    """Welch's t of the same difference, (E, n)."""
    outside, inside = sides(trajectory)
    variance = inside.variance / inside.count + outside.variance / outside.count
    return np.asarray((inside.mean - outside.mean) / np.sqrt(np.maximum(variance, _least(variance))))


def _least(variance: Array) -> float:
    """A spread of nothing counts as a trifle of what is common."""
    return float(_LEAST * variance.mean() + np.finfo(np.float64).tiny)
