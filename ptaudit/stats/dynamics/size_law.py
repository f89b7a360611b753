"""How fast risk falls with the number of examples: a power law.

Tobaben et al. (arXiv 2402.06674): log(TPR - FPR) is linear in log S, S examples per class; they find a slope of about
-0.5 for models that are fitted to the features of a large one.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from ptaudit.stats.detection import standard_error
from ptaudit.stats.estimate import Estimate, inconclusive

Array = NDArray[np.float64]

MIN_SIZES = 3
"""Fewest data sets: a line through two fits always."""


@dataclass(frozen=True)
class SizeLaw:
    """log(TPR - FPR) = `intercept` + `slope` log S.

    Attributes:
        slope: with its interval; null 0, no ceiling, n = data sets.
        intercept: NaN where there is no slope.
        scatter: how far data sets are off the line, in standard errors of their own (root mean square; 1 is what their
            intervals explain); NaN likewise.
    """

    slope: Estimate
    intercept: float
    scatter: float


def size_law(examples: ArrayLike, advantages: Sequence[Estimate]) -> SizeLaw:
    """The slope by least squares, weighted with the data sets' own errors.

    The interval is by Student's t of K - 2 degrees of freedom. The errors say how the data sets compare; their common
    scale is estimated from what is off the line, and is at least 1.

    Args:
        examples: (K,), examples per class, above 0.
        advantages: K estimates of TPR - FPR at one FPR; a TPR's estimate less the FPR.

    Returns:
        A slope that is `inconclusive` where an advantage is, is not above 0 (a logarithm of what is not there), or has
        no interval, and where fewer than `MIN_SIZES` numbers of examples are different.

    Raises:
        ValueError: for numbers of examples that are not above 0, or not one an advantage.
    """
    sizes = np.asarray(examples, dtype=np.float64)
    if sizes.shape != (len(advantages),) or not (np.isfinite(sizes) & (sizes > 0.0)).all():
        raise ValueError(
            f"{len(advantages)} advantages need as many numbers of examples above 0, given {sizes.tolist()}"
        )
    if problem := _problem(sizes, advantages):
        return SizeLaw(inconclusive(problem, n=len(sizes)), math.nan, math.nan)
    value = np.array([one.value for one in advantages])
    error = np.array([standard_error(one.value, one.lo, one.hi, one.draws) for one in advantages]) / value
    x, y, weight = np.log(sizes), np.log(value), np.square(error) ** -1
    centre = float(weight @ x / weight.sum())
    squares = float(weight @ np.square(x - centre))
    slope = float(weight @ ((x - centre) * y)) / squares
    intercept = float(weight @ y / weight.sum()) - slope * centre
    dof = len(sizes) - 2
    scatter = math.sqrt(float(weight @ np.square(y - intercept - slope * x)) / dof)
    half = float(stats.t.ppf(0.975, dof)) * max(scatter, 1.0) / math.sqrt(squares)
    return SizeLaw(Estimate(slope, slope - half, slope + half, 0.0, math.nan, len(sizes)), intercept, scatter)


def _problem(sizes: Array, advantages: Sequence[Estimate]) -> str | None:
    if (different := len(np.unique(sizes))) < MIN_SIZES:
        return f"needs {MIN_SIZES} different numbers of examples, there are {different}"
    for size, one in zip(sizes, advantages):
        if not one.conclusive:
            return f"the advantage at {size:g} examples is {one.status}"
        if one.value <= 0.0:
            return f"the advantage at {size:g} examples is {one.value:.3g}, and has no logarithm"
        if standard_error(one.value, one.lo, one.hi, one.draws) <= 0.0:
            return f"the advantage at {size:g} examples has no interval"
    return None
