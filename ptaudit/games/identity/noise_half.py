"""How much noise would hide it: the smallest noise at which the bits of a row fall to half of their ceiling.

Where everything leaks, bits tell layers and epochs no longer apart: all are at the ceiling. The noise that it takes to
halve them does. It is found by playing the same game on a grid of noise and interpolating the bits on its logarithm.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from ptaudit.stats.estimate import Estimate, inconclusive

GRID = (1e-4, 1e-3, 1e-2, 0.03, 0.1, 0.3, 1.0)
"""Standard deviations on every parameter of the sum, in units of the clip, or of the median norm of the gradients."""

FROM = 0.9
"""Share of the ceiling from which on rows count as tied: noise is asked for from there on."""

UnderNoise = Callable[[float], Sequence[Estimate]]
"""Bits of every line under a noise of so many units."""


def measure(quiet: Sequence[Estimate], play: UnderNoise) -> list[Estimate]:
    """The noise that halves the bits of every line.

    Args:
        quiet: bits of every line without noise.
        play: the same game with noise.

    Returns:
        One estimate a line, in the units of `GRID`; its interval is where the interval of the bits is crossed.
        Inconclusive for lines that are far from their ceiling without noise.
    """
    tied = [e.conclusive and e.value >= FROM * e.ceiling for e in quiet]
    if not any(tied):
        return [inconclusive("far from the ceiling without noise", n=e.n) for e in quiet]
    curves = [play(sigma) for sigma in GRID]
    return [
        _crossing(e, [curve[i] for curve in curves]) if tied[i]
        else inconclusive("far from the ceiling without noise", n=e.n)
        for i, e in enumerate(quiet)
    ]  # fmt: skip


def _crossing(quiet: Estimate, curve: Sequence[Estimate]) -> Estimate:
    """Where bits, and both ends of their interval, fall to half of the ceiling without noise."""
    half = quiet.ceiling / 2.0
    value, lo, hi = (_fall([getattr(e, end) for e in curve], half) for end in ("value", "lo", "hi"))
    return Estimate(value, min(lo, value), max(hi, value), 0.0, math.inf, quiet.n)


def _fall(bits: Sequence[float], half: float) -> float:
    """First noise at which bits are at most `half`, interpolated on its logarithm; the ends of the grid bound it."""
    before_sigma, before = GRID[0], math.inf
    for sigma, value in zip(GRID, bits):
        if value <= half:
            if math.isinf(before):
                return sigma
            share = (before - half) / max(before - value, 1e-12)
            return math.exp(math.log(before_sigma) + share * math.log(sigma / before_sigma))
        before_sigma, before = sigma, value
    return GRID[-1]
