"""Few runs per side: variances that are themselves estimated from a handful of numbers."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats
from scipy.special import ndtr

Array = NDArray[np.float64]


def satterthwaite(variances: Sequence[ArrayLike], dofs: Sequence[ArrayLike]) -> tuple[Array, Array]:
    """Sum of independent variance estimates and its effective degrees of freedom (Satterthwaite 1946).

    Args:
        variances: variance estimates, each a number or an array of one shape.
        dofs: degrees of freedom of each, at least 1.

    Returns:
        The sum, and the degrees of freedom of a t statistic built on it (infinite where the sum is 0).
    """
    parts = [np.asarray(part, dtype=np.float64) for part in variances]
    total = np.asarray(sum(parts), dtype=np.float64)
    below = np.asarray(sum(part**2 / np.asarray(dof) for part, dof in zip(parts, dofs)), dtype=np.float64)
    dof = np.divide(total**2, below, out=np.full_like(total, np.inf), where=below > 0)
    return total, dof


def welch(
    before: Array, after: Array, extra: Sequence[tuple[ArrayLike, ArrayLike]] = ()
) -> tuple[Array, Array, Array, Array]:
    """Welch's t for the difference of means between two groups of runs.

    Args:
        before: (runs, rows) values, one a run, at least two runs.
        after: (other runs, rows).
        extra: further independent variances of the difference with their degrees of freedom, each (rows,).

    Returns:
        Difference after − before, its standard error, degrees of freedom and two-sided p value, each (rows,). With a
        standard error of 0 the p value is 1 for no difference and 0 for any.
    """
    difference = after.mean(axis=0) - before.mean(axis=0)
    groups = [(side.var(axis=0, ddof=1) / len(side), len(side) - 1) for side in (before, after)]
    parts = [*groups, *extra]
    variance, dof = satterthwaite([v for v, _ in parts], [d for _, d in parts])
    error = np.sqrt(variance)
    return difference, error, dof, two_sided_p(difference, error, dof)


def two_sided_p(difference: Array, error: Array, dof: ArrayLike = np.inf) -> Array:
    """Two-sided p value of difference/error under Student's t; shape of `difference`."""
    t = np.divide(np.abs(difference), error, out=np.where(difference == 0, 0.0, np.inf), where=error > 0)
    tail = ndtr(-t) if np.isinf(dof).all() else stats.t.sf(t, np.asarray(dof, dtype=np.float64))
    return np.asarray(2 * tail, dtype=np.float64)
