"""The median of a score of records, with its interval."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from ptaudit.stats.bootstrap import DRAWS, resample_weights
from ptaudit.stats.estimate import Estimate, inconclusive

Array = NDArray[np.float64]

LEAST_RECORDS = 6
"""With fewer no two records enclose the median with 95 %."""


def median(values: Array, upper: Array, *, null: float, seed: int) -> Estimate:
    """The median of per-record values that are known up to their own errors.

    The interval runs from one record to another, chosen by the binomial distribution, and so holds whatever the values'
    distribution is; draws are medians of the resamples that all rows share.

    Args:
        values: (n,) values, one a record; each may be too small, never too large.
        upper: (n,) what each is at most; the upper end of the interval is one of these.
        null: where nothing is found.
        seed: the audit's seed.

    Returns:
        `inconclusive` for fewer than `LEAST_RECORDS` records or values that are not finite.
    """
    n = len(values)
    if n < LEAST_RECORDS:
        return inconclusive(f"needs {LEAST_RECORDS} records, has {n}", n=n)
    if not np.isfinite(values).all():
        return inconclusive("values that are not finite", n=n)
    rank = int(stats.binom.ppf(0.025, n, 0.5))  # of the first record that may lie above the median
    lo, hi = float(np.sort(values)[rank - 1]), float(np.sort(upper)[n - rank])
    return Estimate(float(np.median(values)), lo, hi, null, np.nan, n, draws=_resampled(values, seed))


def _resampled(values: Array, seed: int) -> Array:
    """The lower median of each resample, `(DRAWS,)`."""
    order = np.argsort(values)
    share = np.cumsum(resample_weights(len(values), DRAWS, seed)[:, order], axis=1)
    return np.asarray(values[order][(share >= 0.5 - 1e-9).argmax(1)], dtype=np.float64)
