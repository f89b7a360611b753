"""Information about classes by a linear discriminant: what `gaussian` measures when y are classes.

The posterior of Gaussian classes that share one covariance, tempered and mixed with the prior guess, both chosen among
records of its own. Its gain over the prior on records it has not seen is a lower bound on I(X;Y) in expectation (Barber
and Agakov 2003), and exact for such classes but for the cost of the fit. The prior guess, 0 bits, is among the choices.
Five folds: four fit and choose (each tried by a fit on the other three), the fifth is read.

Ceiling: the entropy of the classes in the sample. Blind to classes that differ in scatter alone.
"""

from __future__ import annotations

import numpy as np

from ptaudit.estimators.base import Measured
from ptaudit.estimators.knn import derangements
from ptaudit.estimators.pairing import Array, Index, measured

FOLDS = 5
SLOPES = (0.0, 0.125, 0.25, 0.5, 1.0)
SHARES = (0.002, 0.02, 0.1)
PER_COORDINATE = 20
"""Fewest records for each coordinate."""


def class_information(points: Array, labels: Index, seed: int, side: Index | None = None) -> Measured:
    """Bits of a linear discriminant about the classes; see the head of this file.

    Args:
        points: (N, d), white and centred, leading components first: N / 20 of them are used.
        labels: classes 0 to C − 1, (N,).
        seed: of the folds, the derangements and the resamples.
        side: sides of the records, (N,), see `Pairs`; None: one.
    """
    n = len(points)
    points = points[:, : max(1, n // PER_COORDINATE)]
    fold = np.random.default_rng([seed, n]).permutation(n) % FOLDS
    scatter = np.stack([points[fold == f].T @ points[fold == f] for f in range(FOLDS)])
    values = gains(points, labels, fold, scatter)
    nulls = [float(gains(points, labels[order], fold, scatter).mean()) for order, _ in derangements(n, seed, side)]
    share = np.bincount(labels) / n
    ceiling = -float(share @ np.log2(share))
    return measured(values, nulls, ceiling, seed)


def gains(points: Array, labels: Index, fold: Index, scatter: Array) -> Array:
    """Bits over the prior of every record, each by a discriminant fitted and calibrated without its fold, (N,).

    Args:
        points: (N, d).
        labels: classes 0 to C − 1, (N,).
        fold: fold of each record, (N,).
        scatter: sums of outer products of the points of each fold, (folds, d, d).
    """
    prior = np.bincount(labels) / len(labels)
    one_hot = np.eye(len(prior))[labels]
    count = np.stack([one_hot[fold == f].sum(axis=0) for f in range(FOLDS)])
    total = np.stack([one_hot[fold == f].T @ points[fold == f] for f in range(FOLDS)])

    def scores(out: int, among: list[int]) -> Array:
        known, here = count[among].sum(axis=0), fold == out
        return discriminant(points[here], known, total[among].sum(axis=0), scatter[among].sum(axis=0))

    result = np.empty(len(points))
    for out in range(FOLDS):
        others = [f for f in range(FOLDS) if f != out]
        tried = [(scores(f, [g for g in others if g != f]), labels[fold == f]) for f in others]
        grid = [(slope, share) for slope in SLOPES for share in SHARES]
        best = max(grid, key=lambda point: sum(float(gain(s, prior, own, *point).sum()) for s, own in tried))
        result[fold == out] = gain(scores(out, others), prior, labels[fold == out], *best)
    return result


def discriminant(points: Array, count: Array, total: Array, scatter: Array) -> Array:
    """Log-likelihoods of the classes up to a term of the record, (M, C).

    A class with few records is drawn toward the mean of all, as if it had one record more there; the covariance is
    drawn toward the identity (the points are white) by d records' worth.

    Args:
        points: the records asked about, (M, d).
        count: records of each class that it is fitted on, (C,).
        total: their sums, (C, d).
        scatter: sum of their outer products, (d, d).
    """
    n, d = count.sum(), points.shape[1]
    mean = total.sum(axis=0) / n
    centres = (total + mean) / (count + 1.0)[:, None]
    raw = total / np.maximum(count, 1.0)[:, None]
    within = scatter - (raw * count[:, None]).T @ raw
    freedom = max(n - np.count_nonzero(count), 0.0)
    axes = np.linalg.solve((within + d * np.eye(d)) / (freedom + d), centres.T)
    result: Array = points @ axes - 0.5 * (centres.T * axes).sum(axis=0)
    return result


def gain(scores: Array, prior: Array, labels: Index, slope: float, share: float) -> Array:
    """Bits over the prior of the tempered posterior mixed with a share of the prior, (M,)."""
    if slope == 0.0:
        return np.zeros(len(labels))
    tempered = slope * (scores - scores.max(axis=1, keepdims=True))
    likelihood = np.exp(tempered)
    ratio = likelihood[np.arange(len(labels)), labels] / (likelihood @ prior)
    result: Array = np.log2((1.0 - share) * ratio + share)
    return result
