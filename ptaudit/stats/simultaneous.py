"""Bounds that hold for all rows of a table at once."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

Array = NDArray[np.float64]

Z = float(stats.norm.ppf(0.975))
"""Half-width of a pointwise 95 % interval, in spreads."""
_NO_SPREAD = 1e-6


def spread(draws: Array) -> Array:
    """Standard deviation of each row's draws (rows, B) -> (rows,); exactly 0 where it is only (float32) rounding."""
    size = draws.std(axis=1, ddof=1)
    return np.where(size > _NO_SPREAD * np.maximum(1.0, np.abs(draws).max(axis=1)), size, 0.0)


def simultaneous_bounds(
    values: Array, draws: Array, level: float = 0.95, dof: ArrayLike = np.inf
) -> tuple[Array, Array]:
    """Bounds that cover all rows at once, by the maximum of the studentised deviations over the rows.

    The half-width is c times the spread of a row's draws, c the `level` quantile over replicates of the largest
    |draw − mean| / spread (Romano and Wolf 2005). Correlated rows cost less than independent ones.

    Args:
        values: (rows,) unclipped values.
        draws: (rows, B) bootstrap replicates, replicate b of all rows from the same resample.
        level: joint coverage.
        dof: degrees of freedom behind the spread of a row, where it is estimated from few runs. Such draws are
            expected to be scaled to the t quantile at 95 % (see `tables.seeds`); here they are scaled on to the
            quantile that belongs to c.

    Returns:
        Lower and upper bounds (rows,). A row without spread has its value as both bounds: what else is known of it
        (say, that every game was won) is the caller's to add.
    """
    size = spread(draws)
    moving = size > 0
    if not moving.any():
        return values.copy(), values.copy()
    deviation = np.abs(draws[moving] - draws[moving].mean(axis=1, keepdims=True)) / size[moving, None]
    critical = float(np.quantile(deviation.max(axis=0), level, method="higher"))
    half = t_ratio(float(2 * stats.norm.sf(critical)), dof) * Z * size
    return values - half, values + half


def sidak_bounds(
    values: Array, lo: Array, hi: Array, level: float = 0.95, dof: ArrayLike = np.inf
) -> tuple[Array, Array]:
    """Bounds that cover all rows at once from pointwise 95 % intervals alone, by Sidak's inequality.

    Each half of an interval is stretched by the ratio of the quantile at level^(1/rows) to the one at 95 %.

    Args:
        values: (rows,).
        lo: (rows,) lower ends of the 95 % intervals.
        hi: (rows,) upper ends.
        level: joint coverage.
        dof: degrees of freedom of a row's interval.

    Returns:
        Lower and upper bounds (rows,).
    """
    stretch = t_ratio(sidak_tail(len(values), level), dof)
    return values - (values - lo) * stretch, values + (hi - values) * stretch


def sidak_tail(rows: int, level: float = 0.95) -> float:
    """Two-sided error rate of each of `rows` intervals that makes the joint coverage at least `level`."""
    return float(-np.expm1(np.log(level) / max(rows, 1)))


def t_ratio(tail: float, dof: ArrayLike) -> Array:
    """Quantile of Student's t at the two-sided error rate `tail` over that at 5 %; shape of `dof`."""
    degrees = np.asarray(dof, dtype=np.float64)
    return np.asarray(stats.t.isf(tail / 2, degrees) / stats.t.isf(0.025, degrees), dtype=np.float64)
