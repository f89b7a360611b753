"""How near rebuilt records come to true ones: error, PSNR, SSIM, explained variance, assignment, identifiability.

Everything is a value for each record, so that intervals can resample records.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import toeplitz
from scipy.optimize import linear_sum_assignment
from scipy.spatial.distance import cdist

Array = NDArray[np.float64]

_WINDOW, _SIGMA = 11, 1.5
"""Side and standard deviation of the Gaussian window of SSIM, in pixels."""

_K1, _K2 = 0.01, 0.03

LEAST_ERROR = 1.0 / (12.0 * 255.0**2)
"""Mean squared error below which a picture is as good as exact, for a data range of 1: what rounding to 256 levels
leaves."""

MOST_PSNR = float(-10.0 * np.log10(LEAST_ERROR))
"""PSNR of a picture that is as good as exact, in dB (58.9)."""


def squared_error(rebuilt: Array, true: Array) -> Array:
    """Mean squared error of every record over its numbers, `(n, ...)` -> `(n,)`; the records' own units, squared."""
    gap = np.asarray(rebuilt, np.float64) - np.asarray(true, np.float64)
    return np.asarray(np.square(gap).reshape(len(gap), -1).mean(1))


def psnr(rebuilt: Array, true: Array, data_range: float) -> Array:
    """Peak signal-to-noise ratio of every record in dB, `(n, ...)` -> `(n,)`, at most `MOST_PSNR`.

    Args:
        rebuilt: what was rebuilt.
        true: the records.
        data_range: largest minus smallest value that a number can have; 1 for pictures in [0, 1].
    """
    share = squared_error(rebuilt, true) / data_range**2
    return np.asarray(-10.0 * np.log10(np.maximum(share, LEAST_ERROR)))


def ssim(rebuilt: Array, true: Array, data_range: float) -> Array:
    """Structural similarity of every picture, `(n, C, H, W)` -> `(n,)`, from -1 to 1.

    Wang et al., "Image quality assessment", IEEE Transactions on Image Processing 13 (2004): Gaussian window of 11
    pixels and standard deviation 1.5, K1 = 0.01, K2 = 0.03, mean over the places where the window lies inside, and over
    channels. In pictures with a side below 11 the window is the largest odd one that fits.

    Args:
        rebuilt: what was rebuilt.
        true: the pictures.
        data_range: largest minus smallest value of a pixel.
    """
    x, y = np.asarray(rebuilt, np.float64), np.asarray(true, np.float64)
    high, wide = _smoothing(x.shape[2]), _smoothing(x.shape[3])

    def local_mean(picture: Array) -> Array:
        return np.asarray(high @ picture @ wide.T)

    mean_x, mean_y = local_mean(x), local_mean(y)
    var_x, var_y = local_mean(x * x) - mean_x**2, local_mean(y * y) - mean_y**2
    both = local_mean(x * y) - mean_x * mean_y
    c1, c2 = (_K1 * data_range) ** 2, (_K2 * data_range) ** 2
    alike = (2.0 * mean_x * mean_y + c1) * (2.0 * both + c2)
    return np.asarray((alike / ((mean_x**2 + mean_y**2 + c1) * (var_x + var_y + c2))).mean((1, 2, 3)))


def _smoothing(side: int) -> Array:
    """The window along one side as a matrix `(places, side)`: a row for every place where it lies inside."""
    size = min(_WINDOW, side - 1 + side % 2)
    weight = np.exp(-0.5 * np.square((np.arange(size) - size // 2) / _SIGMA))
    row = np.pad(weight / weight.sum(), (0, side - size))
    return np.asarray(toeplitz(np.r_[row[0], np.zeros(side - size)], row))


def explained_variance(error: Array, prior_error: Array) -> Array:
    """A value for each record whose mean is 1 - mean(error) / mean(prior_error), `(n,)`.

    It is the ratio linearised around its own value (the delta method), so that an interval over the values is one for
    the ratio. Records that are rebuilt exactly give 1, the prior alone gives 0; worse than the prior is negative.

    Args:
        error: squared error of what was rebuilt, of every record.
        prior_error: squared error of the prior's mean record. Where their mean is 0 there is nothing to explain: NaN.
    """
    total = prior_error.mean()
    if not total > 0.0:
        return np.full(len(error), np.nan)
    share = error.mean() / total
    return np.asarray(1.0 - share - (error - share * prior_error) / total)


def assignment(rebuilt: Array, true: Array) -> NDArray[np.int64]:
    """Which true record of a batch each rebuilt one is, at the least squared error in total.

    Args:
        rebuilt: `(m, ...)`.
        true: `(M, ...)`, at least as many.

    Returns:
        Place of the true record, `(m,)`; no place twice.
    """
    rows, columns = linear_sum_assignment(_distances(rebuilt, true))
    found = np.empty(len(rebuilt), np.int64)
    found[rows] = columns
    return found


def identified(rebuilt: Array, candidates: Array, own: NDArray[np.int64]) -> Array:
    """Whether the candidate nearest to each rebuilt record is the record that it was rebuilt from, `(n,)`.

    Among j candidates at the same least distance the own one counts 1/j. A guess is right once in K.

    Args:
        rebuilt: `(n, ...)`.
        candidates: K records, `(K, ...)`.
        own: the true record's place among them, `(n,)`.
    """
    distance = _distances(rebuilt, candidates)
    least = distance.min(1, keepdims=True)
    nearest = distance <= least * (1.0 + 1e-12)
    return np.asarray(nearest[np.arange(len(own)), own] / nearest.sum(1))


def nearest(true: Array, reference: Array) -> NDArray[np.int64]:
    """Place of the reference record nearest to each record by squared error, `(n, ...)`, `(R, ...)` -> `(n,)`."""
    return np.asarray(_distances(true, reference).argmin(1))


def share_above(scores: Array, threshold: float) -> Array:
    """Whether each score is above a threshold, as 0 and 1, `(n,)`: their mean is the share; NaN stays NaN."""
    return np.where(np.isnan(scores), np.nan, (scores > threshold).astype(np.float64))


def _distances(one: Array, other: Array) -> Array:
    left, right = (np.asarray(some, np.float64).reshape(len(some), -1) for some in (one, other))
    return np.asarray(cdist(left, right, "sqeuclidean"))
