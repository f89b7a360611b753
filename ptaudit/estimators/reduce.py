"""Coordinates made comparable, and few: what the estimators do to each side before they look at both.

Nothing here sees the pairing, so it needs no records of its own.
"""

from __future__ import annotations

import numpy as np
from scipy.linalg import eigh
from scipy.special import ndtri
from scipy.stats import rankdata

from ptaudit.estimators.pairing import Array

_MOVE = 1e-7
_NOTHING = 1e-10
"""Share of the largest variance below which a direction is rounding."""


def standardised(points: Array) -> Array:
    """Every coordinate about its mean in units of its standard deviation; constant coordinates are left out.

    Args:
        points: (N, d), finite.

    Returns:
        (N, d'), d' ≤ d.
    """
    varying = points[:, np.ptp(points, axis=0) > 0.0]
    result: Array = (varying - varying.mean(axis=0)) / varying.std(axis=0)
    return result


def normal_scores(points: Array, stream: int = 0) -> Array:
    """Every coordinate's ranks as quantiles of the normal distribution, of unit variance; constant ones are left out.

    Mutual information does not change, heavy tails go. Equal values keep an equal (their mean) rank. The quantiles are
    moved by a fixed 1e-7: two sides on one grid would have many equal distances.

    Args:
        points: (N, d), finite.
        stream: another number for the other side.

    Returns:
        (N, d'), d' ≤ d.
    """
    varying = points[:, np.ptp(points, axis=0) > 0.0]
    n, d = varying.shape
    rank = rankdata(varying, axis=0)
    moved = _MOVE * np.random.default_rng([n, stream]).standard_normal((2 * n - 1, d))
    scores: Array = ndtri((rank - 0.5) / n) + moved[(2 * rank - 2).astype(np.int64), np.arange(d)]
    scores -= scores.mean(axis=0)
    scores /= scores.std(axis=0)
    return scores


def principal(scores: Array, most: int) -> Array:
    """At most `most` leading principal components, each of unit variance.

    A projection only loses information, so what is measured on it bounds that of all coordinates from below.

    Args:
        scores: (N, d), centred.
        most: components to keep; directions that are nothing but rounding are never kept.

    Returns:
        (N, d'), d' ≤ min(d, most).
    """
    d = scores.shape[1]
    variance, axes = eigh(scores.T @ scores / len(scores), subset_by_index=(max(0, d - most), d - 1))
    kept = variance > _NOTHING * variance[-1]
    result: Array = scores @ (axes[:, kept] / np.sqrt(variance[kept]))[:, ::-1]
    return result


def few(points: Array, most: int, margins: str = "ranks", stream: int = 0) -> Array:
    """Normal scores, or for `raw` margins standardised values; that many components of the scores where d > `most`."""
    if points.shape[1] <= most and margins == "raw":
        return standardised(points)
    scores = normal_scores(points, stream)
    return principal(scores, most) if points.shape[1] > most else scores
