"""Spearman's rank correlation with its interval."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from ptaudit.stats.bootstrap import DRAWS, resample_weights
from ptaudit.stats.estimate import Estimate, inconclusive
from ptaudit.stats.simultaneous import Z

Array = NDArray[np.float64]

MIN_RECORDS = 20
"""Fewest records of which a correlation is reported."""

_LARGEST = 1.0 - 1e-9


def rank_correlation(x: Array, y: Array, *, seed: int, draws: int = DRAWS) -> Estimate:
    """Correlation of the ranks of two numbers of each record, ties sharing theirs.

    The interval is that of Bonett and Wright (2000), by Fisher's transform with variance (1 + r^2 / 2) / (n - 3). It is
    over records, the numbers being given: where they are estimated from few models, their noise draws the value towards
    0, and numbers that share models share noise. Take them from disjoint halves of a fleet.

    Args:
        x: (n,).
        y: (n,).
        seed: of the resamples, in which records keep their ranks.
        draws: number of resamples.

    Returns:
        Estimate with null 0, ceiling 1 and n = records; `inconclusive` for fewer than `MIN_RECORDS`, for numbers that
        are not finite, and where all records have the same.
    """
    n = len(x)
    if problem := _problem(x, y):
        return inconclusive(problem, ceiling=1.0, n=n)
    ranks: Array = np.stack([stats.rankdata(x), stats.rankdata(y)])
    value = float(_weighted(ranks, np.full((1, n), 1.0 / n))[0])
    error = math.sqrt((1.0 + value * value / 2.0) / (n - 3.0))
    centre = math.atanh(max(-_LARGEST, min(value, _LARGEST)))
    lo, hi = (math.tanh(centre + sign * Z * error) for sign in (-1.0, 1.0))
    drawn = _weighted(ranks, resample_weights(n, draws, seed))
    return Estimate(value, min(lo, value), max(hi, value), 0.0, 1.0, n, draws=drawn)


def _problem(x: Array, y: Array) -> str | None:
    if len(x) < MIN_RECORDS:
        return f"needs {MIN_RECORDS} records, there are {len(x)}"
    if not (np.isfinite(x).all() and np.isfinite(y).all()):
        return "values that are not finite"
    if np.ptp(x) == 0.0 or np.ptp(y) == 0.0:
        return "all records have the same value"
    return None


def _weighted(ranks: Array, weights: Array) -> Array:
    """Correlations (B,) of two rows of ranks (2, n) under weights (B, n); 0 where one does not vary."""
    centred = ranks - ranks.mean(1, keepdims=True)
    mean = weights @ centred.T
    second = np.stack([weights @ (centred[i] * centred[j]) for i, j in ((0, 0), (1, 1), (0, 1))])
    variance = (second[0] - mean[:, 0] ** 2) * (second[1] - mean[:, 1] ** 2)
    covariance = second[2] - mean[:, 0] * mean[:, 1]
    spread = np.sqrt(np.maximum(variance, 0.0))
    return np.asarray(np.divide(covariance, spread, out=np.zeros_like(spread), where=spread > 0.0))
