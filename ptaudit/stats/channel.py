"""Upper bounds in bits on what passes through Gaussian noise of known size: statements, not scores of an adversary.

Source: Cover and Thomas, Elements of Information Theory (2nd ed.), theorems 9.1.1 (capacity under a power constraint)
and 8.6.5 (the Gaussian has the largest entropy for its covariance).
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike


def channel_bits(noise_std: float, clip: float, parameters: int | None, rounds: int = 1) -> float:
    """Most bits that noisy sums give away about a contribution whose length is at most `clip`.

    The capacity of r uses of a Gaussian channel with d inputs of total power C^2 and noise of standard deviation s on
    each: r * d/2 * log2(1 + C^2 / (d s^2)), at most 0.72 r C^2 / s^2. It holds whatever the contribution depends on and
    whatever else is in the sum, known or not: those others can only hide it.

    Args:
        noise_std: standard deviation s per coordinate of the noise on the sum.
        clip: most length C of the contribution, in the same unit.
        parameters: number of coordinates d; None where it is not known (the bound for any d).
        rounds: sums (r), each with noise of its own.

    Returns:
        Bits; infinite without noise, 0 without a contribution.

    Raises:
        ValueError: for negative or non-finite noise or clip, or counts below 1.
    """
    _refuse_unless(noise_std, rounds)
    if not (math.isfinite(clip) and clip >= 0.0) or (parameters is not None and parameters < 1):
        raise ValueError("clip must be at least 0, and parameters at least 1")
    if clip == 0.0:
        return 0.0
    noise_sq = (noise_std / clip) ** 2
    if noise_sq == 0.0:
        return math.inf
    if parameters is None:
        return rounds / (2.0 * math.log(2.0) * noise_sq)
    return rounds * parameters / 2.0 * math.log2(1.0 + 1.0 / (parameters * noise_sq))


def covariance_bits(covariance: ArrayLike, noise_std: float, rounds: int = 1) -> float:
    """Most bits through the noise where the covariance of the contribution is known: r/2 * log2 det(I + Cov / s^2).

    Never above `channel_bits`, and far below where the contribution varies in few directions. It needs the TRUE
    covariance of the whole contribution. One that is estimated from records or read off a sketch makes it an estimate
    and no bound: directions that were not seen count for nothing, and heavy tails hide in few records.

    Args:
        covariance: of the contribution, `(d, d)`, symmetric, positive semi-definite.
        noise_std: standard deviation s per coordinate of the noise.
        rounds: sums (r), each with noise of its own.

    Returns:
        Bits; infinite without noise, 0 where nothing varies.

    Raises:
        ValueError: for a matrix that is not square, finite, symmetric and positive semi-definite, or noise and rounds
            out of range.
    """
    _refuse_unless(noise_std, rounds)
    matrix = np.atleast_2d(np.asarray(covariance, dtype=np.float64))
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1] or not np.isfinite(matrix).all():
        raise ValueError(f"covariance must be a square matrix of finite numbers, not of shape {matrix.shape}")
    size = float(np.abs(matrix).max(initial=0.0))
    variances = np.linalg.eigvalsh((matrix + matrix.T) / 2.0)
    if np.abs(matrix - matrix.T).max(initial=0.0) > 1e-6 * size or variances.min(initial=0.0) < -1e-6 * size:
        raise ValueError("covariance must be symmetric and have no negative variance in any direction")
    if size == 0.0:
        return 0.0
    if noise_std == 0.0:
        return math.inf
    return rounds / 2.0 * float(np.log1p(variances.clip(min=0.0) / noise_std**2).sum()) / math.log(2.0)


def _refuse_unless(noise_std: float, rounds: int) -> None:
    if not (math.isfinite(noise_std) and noise_std >= 0.0) or rounds < 1:
        raise ValueError("noise_std must be a finite number of at least 0, and rounds at least 1")
