"""Intervals for proportions, and for games that were all won."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from scipy import stats

CEILING_TOLERANCE = 1e-3
"""Share of the ceiling within which a record counts as being at it."""


def clopper_pearson(successes: int, n: int, level: float = 0.95) -> tuple[float, float]:
    """Exact two-sided interval for a proportion (Clopper and Pearson 1934).

    Args:
        successes: number of successes, 0..n.
        n: number of trials, at least 1.
        level: coverage that is guaranteed.

    Returns:
        Lower and upper end, both in [0, 1].

    Raises:
        ValueError: if `successes` is not within 0..n or n is 0.
    """
    if n < 1 or not 0 <= successes <= n:
        raise ValueError(f"{successes} successes in {n} trials")
    tail = (1 - level) / 2
    lo = float(stats.beta.ppf(tail, successes, n - successes + 1)) if successes else 0.0
    hi = float(stats.beta.isf(tail, successes + 1, n - successes)) if successes < n else 1.0
    return lo, hi


def rule_of_three(ceiling: float, n: int) -> float:
    """Lower end for the mean of a score when all n records are at its ceiling: ceiling · (1 − 3/n).

    With no failure in n trials a failure rate of 3/n is the 95 % bound; each failure is taken to lose everything.
    """
    return ceiling * max(1 - 3 / n, 0.0) if n else math.nan


def at_ceiling(per_record: NDArray[np.float64], ceiling: float) -> bool:
    """Whether every record is at the ceiling (within a thousandth of it), so that no spread is left to estimate."""
    if not (per_record.size and math.isfinite(ceiling)):
        return False
    return bool(np.all(per_record >= ceiling - CEILING_TOLERANCE * abs(ceiling)))
