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

from ptaudit.stats.binomial import clopper_pearson
from ptaudit.stats.bootstrap import DRAWS, resample_weights
from ptaudit.stats.estimate import Estimate, inconclusive
from ptaudit.stats.roc import (
    auc_influence,
    logit_interval,
    null_tpr,
    score_problem,
    too_few_negatives,
    tpr_at_fpr,
    weighted_tpr,
)
from ptaudit.stats.simultaneous import Z, spread

Array = NDArray[np.float64]
Units = NDArray[np.int64]
Statistic = Callable[[Array, Units, Units], Array]
"""A number for each draw, from weights (draws, units) and from the unit of each member and each non-member pair."""

MIN_RECORDS = 20
"""Fewest records that are a member in some model, and that are not in some."""

_MODELS = 2
_FIRST = 64
_ROUNDING = 1e-12


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
    """AUC over all pairs; n = records.

    The interval is DeLong's on the logit scale (see `roc.auc_estimate`), with the shares of non-members below members
    summed over what a record's, and a model's, pairs have in common.
    """
    if problem := _problem(fleet):
        return inconclusive(problem, ceiling=1.0, n=fleet.records)
    below, above = auc_influence(fleet.inside, fleet.outside)
    value = float(below.mean())

    def statistic(weights: Array, one: Units, zero: Units) -> Array:
        return _means(weights, one, below) + _means(weights, zero, above) - value

    drawn = _drawn(fleet, value, statistic, seed, draws)
    lo, hi = logit_interval(value, float(spread(drawn[None])[0]), min(_distinct(fleet)))
    return Estimate(value, lo, hi, null, 1.0, fleet.records, draws=drawn)


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
    if problem := _problem(fleet) or too_few_negatives(len(outside), fpr, without):
        return inconclusive(problem, ceiling=1.0, n=fleet.records)
    value = tpr_at_fpr(inside, outside, fpr)

    def statistic(weights: Array, one: Units, zero: Units) -> Array:
        return _true_positive_rates((inside, outside), (one, zero), weights, fpr)

    drawn = _drawn(fleet, value, statistic, seed, draws)
    members = _distinct(fleet)[0]
    exact_lo, exact_hi = clopper_pearson(round(value * members), members)
    low, high = _ends(value, drawn)
    n = fleet.records if fpr else len(outside)
    found = Estimate(value, min(exact_lo, low), max(exact_hi, high), null_tpr(len(outside), fpr), 1.0, n, draws=drawn)
    return found.clipped(0.0, 1.0)


def _problem(fleet: FleetScores) -> str | None:
    """Why scores cannot be judged; None if they can. Every resample has members and non-members then."""
    fewest = min(_distinct(fleet))
    if fewest < MIN_RECORDS:
        return f"needs {MIN_RECORDS} records that are members, and as many that are not, there are {fewest} of one kind"
    if fleet.included.all(1).any() or not fleet.included.any(1).all():
        return "a model has no members, or no non-members, among the records"
    return score_problem(fleet.inside, fleet.outside)


def _ends(value: float, drawn: Array) -> tuple[float, float]:
    """Ends of the percentile interval, the value within."""
    low, high = np.quantile(drawn, [0.025, 0.975])
    return min(float(low), value), max(float(high), value)


def _distinct(fleet: FleetScores) -> tuple[int, int]:
    """Records that are a member somewhere, and that are not somewhere."""
    return int(fleet.included.any(0).sum()), int((~fleet.included).any(0).sum())


def _drawn(fleet: FleetScores, value: float, statistic: Statistic, seed: int, draws: int) -> Array:
    """The value with the deviations of resampled records and of resampled models, (draws,)."""
    (model_in, record_in), (model_out, record_out) = np.nonzero(fleet.included), np.nonzero(~fleet.included)
    of_records = statistic(resample_weights(fleet.records, draws, seed), record_in, record_out)
    models = len(fleet.scores)
    if models == 1:
        return of_records
    of_models = statistic(resample_weights(models, draws, seed, stream=_MODELS), model_in, model_out)
    return of_records + few_models(models) * (of_models - value)


def few_models(models: int) -> float:
    """Factor on the spread of a mean over so many models, two or more, whose own spread is known from these alone."""
    return float(stats.t.ppf(0.975, models - 1)) / Z * math.sqrt(models / (models - 1))


def _means(weights: Array, unit: Units, values: Array) -> Array:
    """Means of values of pairs in each draw, where a pair has the weight of its unit."""
    units = weights.shape[1]
    return np.asarray(
        (weights @ np.bincount(unit, values, units)) / (weights @ np.bincount(unit, minlength=units).astype(np.float64))
    )


def _true_positive_rates(scores: tuple[Array, Array], units: tuple[Units, Units], weights: Array, fpr: float) -> Array:
    """TPR of each draw, from as many of the highest pairs as use up the false-positive rate in every draw."""
    counts = [np.bincount(unit, minlength=weights.shape[1]).astype(np.float64) for unit in units]
    share = [weights / (weights @ count)[:, None] for count in counts]
    order = np.argsort(-scores[1], kind="stable")
    looked = _FIRST + math.ceil(2.0 * fpr * len(order))
    while True:
        top = order[:looked]
        used_up = share[1] @ np.bincount(units[1][top], minlength=weights.shape[1])
        if looked >= len(order) or used_up.min() > fpr + _ROUNDING:
            break
        looked *= 2
    above = np.flatnonzero(scores[0] > scores[1][top[-1]])
    return weighted_tpr(
        scores[0][above], scores[1][top], fpr, share[0][:, units[0][above]].T, share[1][:, units[1][top]].T
    )
