"""Error rates of a threshold with their joint upper ends: what both bounds on played games start from."""

from __future__ import annotations

import hashlib

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import betainccinv

Scores = NDArray[np.float64]

_DISTINCT = 10


def scores(given: ArrayLike, what: str) -> Scores:
    """A row of scores; infinite ones are fine.

    Raises:
        ValueError: it is no row, or a score is not a number.
    """
    found = np.asarray(given, dtype=np.float64)
    if found.ndim != 1 or np.isnan(found).any():
        raise ValueError(f"scores of {what} must be one row of numbers, given shape {found.shape}, or NaN among them")
    return found


def fingerprints(*rows: Scores) -> frozenset[str]:
    """What recognises rows of scores, in whatever order; rows of few distinct values have none: they repeat by chance.

    That is how the very games a threshold was chosen on are refused. A part of a row is not recognised.
    """
    distinct = (np.sort(row) for row in rows if len(np.unique(row)) > _DISTINCT)
    return frozenset(hashlib.sha256(row.tobytes()).hexdigest() for row in distinct)


def upper(errors: ArrayLike, games: int, confidence: float) -> NDArray[np.float64]:
    """One-sided Clopper-Pearson upper ends of rates, of which TWO hold together with `confidence` (Bonferroni).

    Args:
        errors: numbers of errors, of any shape.
        games: number of games they are of; with none the rate may be anything up to 1.
        confidence: of both ends together.

    Returns:
        Upper ends, of the shape of `errors`.
    """
    count = np.asarray(errors)
    if games == 0:
        return np.ones(count.shape)
    tail = (1.0 - confidence) / 2.0
    # The beta distribution wants positive parameters also where the answer is known.
    found = betainccinv(count + 1.0, np.maximum(games - count, 1), tail)
    return np.where(count >= games, 1.0, found)


def error_rates(threshold: float, h0: Scores, h1: Scores, confidence: float) -> tuple[float, float]:
    """Joint upper ends of the false-positive rate (h0 at or above) and the false-negative rate (h1 below)."""
    false_positive = upper(int((h0 >= threshold).sum()), len(h0), confidence)
    false_negative = upper(int((h1 < threshold).sum()), len(h1), confidence)
    return float(false_positive), float(false_negative)
