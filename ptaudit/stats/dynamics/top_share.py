"""Precision among the records that a score puts first."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from ptaudit.stats.binomial import clopper_pearson
from ptaudit.stats.bootstrap import DRAWS, resample_weights
from ptaudit.stats.estimate import Estimate, inconclusive

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]

MIN_TOP = 5
"""Fewest records in the share that is looked at."""


def precision_at(scores: Array, wanted: Mask, share: float, *, seed: int, draws: int = DRAWS) -> Estimate:
    """Share of wanted records among the share of all records with the highest scores.

    Of records with the same score any may come first: each counts as the mean of them. The interval is the percentile
    bootstrap over records, widened to at least the exact binomial one of those looked at.

    Args:
        scores: (n,), finite.
        wanted: (n,).
        share: of all records that is looked at, above 0 and at most 1.
        seed: of the resamples.
        draws: number of resamples.

    Returns:
        Estimate with the share of wanted records as null, ceiling 1 (less where fewer are wanted than looked at) and
        n = records looked at; `inconclusive` where they are fewer than `MIN_TOP`.

    Raises:
        ValueError: for a share that cannot be.
    """
    if not 0.0 < share <= 1.0:
        raise ValueError(f"the share of records must be above 0 and at most 1, not {share}")
    n = len(scores)
    looked = math.floor(share * n + 1e-9)
    if looked < MIN_TOP:
        needed = math.ceil(MIN_TOP / share - 1e-9)
        return inconclusive(
            f"{100 * share:g} % of records needs {needed} of them, there are {n}", ceiling=1.0, n=looked
        )
    same = np.unique(scores, return_inverse=True)[1]
    wanted_of_same = (np.bincount(same, wanted) / np.bincount(same))[same]
    order = np.argsort(-scores, kind="stable")
    value = float(_precision(wanted_of_same[order], np.full((1, n), 1.0 / n), share)[0])
    drawn = _precision(wanted_of_same[order], resample_weights(n, draws, seed)[:, order], share)
    low, high = np.quantile(drawn, [0.025, 0.975])
    exact = clopper_pearson(round(value * looked), looked)
    lo, hi = min(exact[0], float(low), value), max(exact[1], float(high), value)
    base = float(wanted.mean())
    return Estimate(value, lo, hi, base, min(1.0, base / share), looked, draws=drawn).clipped(0.0, 1.0)


def _precision(wanted: Array, weights: Array, share: float) -> Array:
    """Of records in their order, (n,), under weights (B, n)."""
    before = np.cumsum(weights, axis=1) - weights
    within = np.clip(share - before, 0.0, weights)
    return np.asarray(within @ wanted / share)
