"""The result type of every measurement."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from ptaudit.stats.detection import detectable, standard_error

OK = "ok"

NOT_COMPARABLE = "not comparable"
"""Start of the status of a number that compares two sides which differ for another reason."""

NEARLY_ALL = 0.9
"""Share of the ceiling from which on a row is not limited by its adversary."""


@dataclass(frozen=True)
class Estimate:
    """One number with what is needed to believe it.

    Attributes:
        value: the estimate, in the unit that its metric names; NaN when the attack could not run.
        lo: lower end of the pointwise 95 % interval.
        hi: upper end of the pointwise 95 % interval.
        null: mean of the same game with the secret shuffled.
        ceiling: the largest value the game allows (NaN where there is none).
        n: number of independent units behind the value (distinct target records).
        status: `ok`, what limits it (see `tables.status`), `saturated`, or `inconclusive: REASON`.
        draws: bootstrap replicates of the unclipped value, shape `(draws,)`. Rows of one table share the
            resampled records, so that replicate b of two rows belongs to the same resample.
    """

    value: float
    lo: float
    hi: float
    null: float
    ceiling: float
    n: int
    status: str = OK
    draws: NDArray[np.float64] | None = field(default=None, repr=False, compare=False)

    @property
    def conclusive(self) -> bool:
        """Whether the attack ran and returned a number that means what it says."""
        return not self.status.startswith(("inconclusive", NOT_COMPARABLE)) and math.isfinite(self.value)

    @property
    def detectable(self) -> float:
        """The smallest value that would have been found with 80 % power at one-sided 5 %, see `detection`; NaN where
        the attack could not run."""
        error = standard_error(self.value, self.lo, self.hi, self.draws)
        return detectable(self.null, error) if self.conclusive else math.nan

    def clipped(self, low: float, high: float) -> Estimate:
        """The same estimate with value and interval clipped to [low, high]; the draws stay as they are."""

        def clip(number: float) -> float:
            return min(max(number, low), high)

        return replace(self, value=clip(self.value), lo=clip(self.lo), hi=clip(self.hi))


def inconclusive(reason: str, *, ceiling: float = math.nan, n: int = 0) -> Estimate:
    """An attack that could not run: never 0 and never "safe"."""
    nan = math.nan
    return Estimate(nan, nan, nan, nan, ceiling, n, f"inconclusive: {reason}")


def sqrt_estimate(squared: Estimate, scale: float = 1.0) -> Estimate:
    """The estimate of sqrt(value / scale): distances and norms are estimated squared, where means have no bias.

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


def not_captured(reason: str) -> Estimate:
    """Of a layer whose gradient could not be read: it leaks, nobody knows how much."""
    return replace(inconclusive(""), status=f"not captured: {reason}")
