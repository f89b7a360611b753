"""An upper bound in bits on what passes through Gaussian noise of known size: a statement, no score of an adversary.

Source: Cover and Thomas, Elements of Information Theory (2nd ed.), theorem 9.1.1 (capacity under a power constraint).
"""

from __future__ import annotations

import math


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
    if not (math.isfinite(noise_std) and noise_std >= 0.0) or rounds < 1:
        raise ValueError("noise_std must be a finite number of at least 0, and rounds at least 1")
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
