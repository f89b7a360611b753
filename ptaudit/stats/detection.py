"""What a measurement could have shown at all: the limit of detection that stands beside every number.

A leak is found where the value is above its null by `stats.norm.ppf(0.95)` standard errors: one-sided 5 %. A leak of
size d above the null is found with 80 % power where d is that, plus `stats.norm.ppf(0.80)` standard errors:

    detectable = null + (1.645 + 0.842) · standard error

The standard error is the spread of the bootstrap draws; without draws (or with draws that do not vary, where every
record scored alike) it is the longer side of the 95 % interval over 1.96. It is that of the row as it was measured, so
the limit is about leaks that vary between records as this one does. A limit above the ceiling says that the row could
have shown nothing. A null of 0 with a limit of 0.5 reads "could not see below 0.5", never "nothing leaks".
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from ptaudit.stats.simultaneous import Z, spread

ERROR_RATE = 0.05
"""One-sided: how often nothing is taken for a leak."""

POWER = 0.80
"""How often a leak of the size of the limit is found."""

FOUND = float(stats.norm.isf(ERROR_RATE))
"""Standard errors above the null from which on a leak counts as found."""

REACH = FOUND + float(stats.norm.ppf(POWER))
"""Standard errors from the null to the limit."""


WORTH = 0.01
"""Share of a number that a gain must exceed to be worth a word."""


def tells_more(gains: NDArray[np.float64], total: NDArray[np.float64]) -> bool:
    """Whether paired gains `(n,)` are more than `WORTH` of the totals `(n,)` that they are part of: the one-sided lower
    bound of 95 % of their mean is above that."""
    apart = gains - WORTH * total
    return bool(apart.mean() > FOUND * apart.std() / len(apart) ** 0.5)


def standard_error(value: float, lo: float, hi: float, draws: NDArray[np.float64] | None = None) -> float:
    """Standard error of a number, from its draws where they vary, else from the longer side of its 95 % interval."""
    if draws is not None and (size := float(spread(np.asarray(draws, dtype=np.float64)[None])[0])) > 0.0:
        return size
    return max(value - lo, hi - value) / Z


def detectable(null: float, error: float) -> float:
    """The smallest value that would have been found with 80 % power at one-sided 5 %; NaN where either is unknown."""
    return null + REACH * error if math.isfinite(null) and math.isfinite(error) else math.nan


def found(value: float, null: float, error: float) -> bool:
    """Whether a value is above its null at one-sided 5 %."""
    return value - null > FOUND * error
