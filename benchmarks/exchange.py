"""Statistics of the exchange rate: rank correlation with an interval, and a monotone forecast with its error.

All functions are pure. A *case* is a row of two tables that are joined; cases of one `group` (a run and view) are not
independent, so groups are resampled and split, never single cases.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import spearmanr
from sklearn.isotonic import IsotonicRegression

Floats = NDArray[np.float64]
Names = NDArray[np.str_]


@dataclass(frozen=True)
class Correlation:
    """Spearman's rank correlation: `value`, its 95 % interval `lo` to `hi`, and the `n` cases behind it."""

    value: float
    lo: float
    hi: float
    n: int


@dataclass(frozen=True)
class Rate:
    """A monotone forecast: `knots` (measure), `levels` (expected success), `margin` (half width of the interval)."""

    knots: Floats
    levels: Floats
    margin: float

    def __call__(self, measure: Floats) -> Floats:
        """Expected success (n,) at a measure (n,); beyond the knots, that of the nearest one."""
        return np.interp(measure, self.knots, self.levels)


def spearman(measure: Floats, success: Floats, group: Names, resamples: int = 1000, seed: int = 0) -> Correlation:
    """Rank correlation of a measure (n,) with success (n,), interval by resampling groups (n,).

    NaN where either is constant or there are fewer than 3 cases; so is the interval with fewer than 3 groups.
    """
    value, rng = _rho(measure, success), np.random.default_rng(seed)
    members = [np.flatnonzero(group == name) for name in np.unique(group)]
    if math.isnan(value) or len(members) < 3:
        return Correlation(value, math.nan, math.nan, len(measure))
    drawn = []
    for _ in range(resamples):
        taken = np.concatenate([members[i] for i in rng.integers(len(members), size=len(members))])
        drawn.append(_rho(measure[taken], success[taken]))
    lo, hi = np.nanquantile(drawn, [0.025, 0.975])
    return Correlation(value, float(lo), float(hi), len(measure))


def within(measure: Floats, success: Floats, level: Floats) -> float:
    """Mean of the rank correlations at each level (n,), weighted by cases; NaN where no level has one."""
    found = [
        (_rho(measure[level == one], success[level == one]), int((level == one).sum())) for one in np.unique(level)
    ]
    kept = [(rho, n) for rho, n in found if not math.isnan(rho)]
    return float(np.average([rho for rho, _ in kept], weights=[n for _, n in kept])) if kept else math.nan


def halves(group: Names, seed: int = 0) -> NDArray[np.bool_]:
    """Which cases (n,) are in the first half of the groups, drawn at random; no group is in both."""
    names = np.random.default_rng(seed).permutation(np.unique(group))
    return np.isin(group, names[: len(names) // 2])


def exchange_rate(measure: Floats, success: Floats, group: Names, cover: float = 0.9) -> Rate:
    """Isotonic regression on half of the groups, split conformal margin from the other half.

    The margin is infinite where there are too few cases for `cover`. Coverage is promised for exchangeable cases only,
    which those of one group are not: judge it on cases that were not used.
    """
    fitted = halves(group, seed=1)
    model = IsotonicRegression(out_of_bounds="clip").fit(measure[fitted], success[fitted])
    error = np.sort(np.abs(success[~fitted] - model.predict(measure[~fitted])))
    rank = math.ceil((len(error) + 1) * cover)
    margin = float(error[rank - 1]) if rank <= len(error) else math.inf
    return Rate(model.X_thresholds_, model.y_thresholds_, margin)


def covered(rate: Rate, measure: Floats, success: Floats) -> float:
    """Share of the cases (n,) inside the prediction interval of a rate."""
    return float(np.mean(np.abs(success - rate(measure)) <= rate.margin))


def _rho(measure: Floats, success: Floats) -> float:
    if len(measure) < 3 or np.ptp(measure) == 0 or np.ptp(success) == 0:
        return math.nan
    return float(spearmanr(measure, success).statistic)
