"""Square roots of estimates: distances and norms are estimated squared, where means over records have no bias."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from ptaudit.stats.estimate import Estimate


def root(squared: Estimate, scale: float = 1.0) -> Estimate:
    """The estimate of sqrt(value / scale).

    A root is monotone, so the ends of an interval and the draws are those of the square, rooted. Negative values, ends
    and nulls become 0; draws keep their sign.

    Args:
        squared: estimate of a square, unclipped.
        scale: what a square of 1 is measured by.
    """

    def one(number: float) -> float:
        return number if math.isnan(number) else math.sqrt(max(number, 0.0) / scale)

    draws = squared.draws
    return replace(
        squared,
        value=one(squared.value),
        lo=one(squared.lo),
        hi=one(squared.hi),
        null=one(squared.null),
        ceiling=one(squared.ceiling),
        draws=None if draws is None else np.sign(draws) * np.sqrt(np.abs(draws) / scale),
    )
