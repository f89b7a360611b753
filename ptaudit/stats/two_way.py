"""ROC numbers of a fleet: n records scored in T target models, with intervals over records and models.

All pairs of a model and a record are pooled; a record is a member in some models and a non-member in others. Pairs that
share a record or a model are not independent, so that an interval over pairs would be far too narrow. Records are
resampled with all their models, models with all their records, and the two deviations added (an interval for a new draw
of both). With few models the spread between them is widened to the t quantile; with one model there is none, and the
interval is for that model.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from ptaudit.stats.binomial import clopper_pearson, rule_of_three
from ptaudit.stats.bootstrap import DRAWS, resample_weights
from ptaudit.stats.estimate import Estimate, inconclusive
from ptaudit.stats.roc import (
    auc,
    best_cut,
    null_tpr,
    score_problem,
    too_few_negatives,
    tpr_at_fpr,
    weighted_auc,
    weighted_tpr,
)
from ptaudit.stats.simultaneous import Z

Array = NDArray[np.float64]
Statistic = Callable[[Array, Array], Array]
"""A number for each draw, from weights of member pairs (P, draws) and of non-member pairs (Q, draws)."""

_MODELS = 2
_HALVES = 3
_AT_ONCE = 1 << 21


@dataclass(frozen=True)
class FleetScores:
    """Scores of a fleet.

    Attributes:
        scores: (T, n), higher = more likely a member; no model may be its own reference.
        included: (T, n), which records each target was trained on.
    """

    scores: Array
    included: NDArray[np.bool_]

    def __post_init__(self) -> None:
        """Raises: ValueError: if the two are not of one shape (T, n)."""
        if self.scores.ndim != 2 or self.scores.shape != self.included.shape:
            raise ValueError(f"scores {self.scores.shape} and included {self.included.shape} are not of one (T, n)")

    @property
    def inside(self) -> Array:
        """Scores of member pairs, (P,)."""
        return self.scores[self.included]

    @property
    def outside(self) -> Array:
        """Scores of non-member pairs, (Q,)."""
        return self.scores[~self.included]

    @property
    def records(self) -> int:
        """Number of records n."""
        return int(self.scores.shape[1])


def auc_estimate(fleet: FleetScores, *, seed: int, null: float = 0.5, draws: int = DRAWS) -> Estimate:
    """AUC over all pairs; n = records. Where it is 0 or 1 the other end is that of the rule of three."""
    inside, outside = fleet.inside, fleet.outside
    if problem := score_problem(inside, outside):
        return inconclusive(problem, ceiling=1.0, n=fleet.records)
    value = auc(inside, outside)
    drawn = _drawn(fleet, value, lambda one, zero: weighted_auc(inside, outside, one, zero), seed, draws)
    lo, hi = _ends(value, drawn)
    least = rule_of_three(1.0, min(_distinct(fleet)))
    if value in (0.0, 1.0):
        lo, hi = (min(lo, least), hi) if value else (lo, max(hi, 1.0 - least))
    return Estimate(value, lo, hi, null, 1.0, fleet.records, draws=drawn).clipped(0.0, 1.0)


def tpr_at_fpr_estimate(fleet: FleetScores, fpr: float, *, seed: int, draws: int = DRAWS) -> Estimate:
    """True-positive rate over all pairs at a false-positive rate over all pairs.

    Of raw scores the rate is pooled: no record's own. Of `per_record.standardised` scores it is calibrated.

    Returns:
        Estimate with ceiling 1 and n = records; `inconclusive` unless there are 5 / `fpr` non-member pairs. At `fpr` 0
        n is the number of non-member pairs among which no false positive was seen. The interval is at least the exact
        binomial one of the distinct members.
    """
    inside, outside = fleet.inside, fleet.outside
    without = "pairs of a model and a record outside it"
    if problem := score_problem(inside, outside) or too_few_negatives(len(outside), fpr, without):
        return inconclusive(problem, ceiling=1.0, n=fleet.records)
    value = tpr_at_fpr(inside, outside, fpr)
    drawn = _drawn(fleet, value, lambda one, zero: weighted_tpr(inside, outside, fpr, one, zero), seed, draws)
    members = _distinct(fleet)[0]
    exact_lo, exact_hi = clopper_pearson(round(value * members), members)
    low, high = _ends(value, drawn)
    lo, hi = min(exact_lo, low), max(exact_hi, high)
    n = fleet.records if fpr else len(outside)
    return Estimate(value, lo, hi, null_tpr(len(outside), fpr), 1.0, n, draws=drawn).clipped(0.0, 1.0)


def accuracy_estimate(fleet: FleetScores, *, seed: int, draws: int = DRAWS) -> Estimate:
    """Balanced accuracy over all pairs, the threshold for each half of the records from the other; n = records."""
    inside, outside = fleet.inside, fleet.outside
    if problem := score_problem(inside, outside):
        return inconclusive(problem, ceiling=1.0, n=fleet.records)
    order = np.random.default_rng([seed, fleet.records, _HALVES]).permutation(fleet.records)
    halves = order[: fleet.records // 2], order[fleet.records // 2 :]
    if any(fleet.included[:, half].all() or not fleet.included[:, half].any() for half in halves):
        return inconclusive("half of the records has no members or no non-members", ceiling=1.0, n=fleet.records)
    right = np.empty(fleet.scores.shape)
    for own, other in (halves, halves[::-1]):
        cut = best_cut(fleet.scores[:, other].ravel(), fleet.included[:, other].ravel())
        right[:, own] = (fleet.scores[:, own] > cut) == fleet.included[:, own]
    right_in, right_out = right[fleet.included], right[~fleet.included]
    value = float(right_in.mean() + right_out.mean()) / 2.0
    drawn = _drawn(fleet, value, lambda one, zero: (right_in @ one + right_out @ zero) / 2.0, seed, draws)
    lo, hi = _ends(value, drawn)
    if value == 1.0:
        lo = min(lo, rule_of_three(1.0, min(_distinct(fleet))))
    return Estimate(value, lo, hi, 0.5, 1.0, fleet.records, draws=drawn).clipped(0.0, 1.0)


def _ends(value: float, drawn: Array) -> tuple[float, float]:
    """Ends of the percentile interval, the value within."""
    low, high = np.quantile(drawn, [0.025, 0.975])
    return min(float(low), value), max(float(high), value)


def _distinct(fleet: FleetScores) -> tuple[int, int]:
    """Records that are a member somewhere, and that are not somewhere."""
    return int(fleet.included.any(0).sum()), int((~fleet.included).any(0).sum())


def _drawn(fleet: FleetScores, value: float, statistic: Statistic, seed: int, draws: int) -> Array:
    """The value with the deviations of resampled records and of resampled models, (draws,)."""
    places = np.nonzero(fleet.included), np.nonzero(~fleet.included)
    of_records = _resampled(resample_weights(fleet.records, draws, seed), [side[1] for side in places], statistic)
    models = len(fleet.scores)
    if models == 1:
        return of_records
    weights = resample_weights(models, draws, seed, stream=_MODELS)
    of_models = _resampled(weights, [side[0] for side in places], statistic)
    few = float(stats.t.ppf(0.975, models - 1)) / Z * math.sqrt(models / (models - 1))
    return of_records + few * (of_models - value)


def _resampled(weights: Array, units: list[NDArray[np.int64]], statistic: Statistic) -> Array:
    """The statistic of each draw, where every pair has the weight of its unit (a record, or a model)."""
    draws = len(weights)
    step = max(1, _AT_ONCE // sum(len(side) for side in units))
    drawn = np.empty(draws)
    for start in range(0, draws, step):
        part = weights[start : start + step].T
        one, zero = (part[side] for side in units)
        drawn[start : start + step] = statistic(one / one.sum(0), zero / zero.sum(0))
    return drawn
