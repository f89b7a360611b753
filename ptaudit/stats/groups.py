"""ROC numbers of groups of records, with intervals that hold for all groups at once.

Groups share no records, so that their numbers are independent but for a threshold that they have in common: the largest
of their studentised deviations is the largest of independent ones, and intervals that each miss at Sidak's rate cover
all groups with 95 %. Who picks the worst group afterwards may read its interval as it stands.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from ptaudit.stats.binomial import clopper_pearson
from ptaudit.stats.bootstrap import DRAWS, resample_weights
from ptaudit.stats.estimate import Estimate, inconclusive
from ptaudit.stats.roc import auc_influence, logit_interval, score_problem, too_few_negatives
from ptaudit.stats.simultaneous import sidak_tail

Array = NDArray[np.float64]
Codes = NDArray[np.int64]

MIN_RECORDS = 20
"""Fewest members of a group, and fewest non-members."""

_ROUNDING = 1e-12


@dataclass(frozen=True)
class GroupedScores:
    """Scores of members and of non-members, higher = more likely a member, and the group of each record.

    Attributes:
        inside: (n_in,) scores of members.
        outside: (n_out,) scores of non-members.
        group_in: (n_in,) from 0, -1 for a record without one.
        group_out: (n_out,) likewise.
        groups: how many there are.
    """

    inside: Array
    outside: Array
    group_in: Codes
    group_out: Codes
    groups: int

    def __iter__(self) -> Iterator[tuple[Array, Array]]:
        """Scores of members and of non-members of each group."""
        for group in range(self.groups):
            yield self.inside[self.group_in == group], self.outside[self.group_out == group]


def auc_estimates(scores: GroupedScores) -> list[Estimate]:
    """AUC of the members of each group against the non-members of the same group; n = records of the group.

    DeLong's intervals on the logit scale (see `roc.auc_estimate`). Inconclusive for a group with fewer than
    `MIN_RECORDS` members or non-members.
    """
    problems = [_problem(inside, outside) for inside, outside in scores]
    tail = sidak_tail(problems.count(None))
    return [
        _auc(inside, outside, tail) if why is None else _lost(why, len(inside) + len(outside))
        for why, (inside, outside) in zip(problems, scores)
    ]


def tpr_estimates(scores: GroupedScores, fpr: float, *, seed: int, draws: int = DRAWS) -> list[Estimate]:
    """Share of each group's members above the threshold that a share `fpr` of ALL non-members passes.

    The interval is the exact binomial one of the members, widened by the spread of the threshold, which is that of
    resampled non-members; n = members of the group. Inconclusive for a group with fewer than `MIN_RECORDS` members, and
    for all groups where there are fewer than 5 / `fpr` non-members.
    """
    outside = scores.outside
    short = score_problem(scores.inside, outside) or too_few_negatives(len(outside), fpr, "non-members")
    problems = [short or _too_few(len(inside), "members") for inside, _ in scores]
    tail = sidak_tail(problems.count(None))
    cuts = np.empty(0) if short else _thresholds(outside, fpr, resample_weights(len(outside), draws, seed, stream=1))
    cut = math.nan if short else float(_thresholds(outside, fpr, np.full((1, len(outside)), 1.0 / len(outside)))[0])
    found = []
    for why, (inside, _) in zip(problems, scores):
        found.append(_tpr(inside, (cut, cuts), fpr, tail) if why is None else _lost(why, len(inside)))
    return found


def worst(estimates: Sequence[Estimate]) -> int | None:
    """Place of the group with the highest lower end; None where nothing was measured."""
    measured = [place for place, one in enumerate(estimates) if one.conclusive]
    return max(measured, key=lambda place: estimates[place].lo, default=None)


def largest(estimates: Sequence[Estimate]) -> Estimate:
    """The number of the `worst` group, as the largest of all: its interval covers the largest true number of any group,
    whichever has it.

    Raises:
        ValueError: nothing was measured.
    """
    place = worst(estimates)
    if place is None:
        raise ValueError("no group was measured")
    one, upper = estimates[place], max(each.hi for each in estimates if each.conclusive)
    return Estimate(one.value, one.lo, upper, one.null, one.ceiling, one.n)


def _problem(inside: Array, outside: Array) -> str | None:
    few = _too_few(len(inside), "members") or _too_few(len(outside), "non-members")
    return few or score_problem(inside, outside)


def _too_few(count: int, what: str) -> str | None:
    return f"needs {MIN_RECORDS} {what} in the group, there are {count}" if count < MIN_RECORDS else None


def _lost(why: str, n: int) -> Estimate:
    return inconclusive(why, ceiling=1.0, n=n)


def _auc(inside: Array, outside: Array, tail: float) -> Estimate:
    below, above = auc_influence(inside, outside)
    value, smaller = float(below.mean()), min(len(inside), len(outside))
    error = math.sqrt(below.var(ddof=1) / len(inside) + above.var(ddof=1) / len(outside))
    lo, hi = logit_interval(value, error, smaller, tail)
    if value in (0.0, 1.0):  # the rule of three, at the rate of each group
        off = min(-math.log(tail) / smaller, 1.0)
        lo, hi = (1.0 - off, 1.0) if value else (0.0, off)
    return Estimate(value, lo, hi, 0.5, 1.0, len(inside) + len(outside))


def _tpr(inside: Array, cuts: tuple[float, Array], fpr: float, tail: float) -> Estimate:
    """`cuts`: the threshold, and those of resampled non-members."""
    n, ordered = len(inside), np.sort(inside)
    passed, drawn = (n - np.searchsorted(ordered, cut, side="right") for cut in cuts)
    value = float(passed) / n
    exact = clopper_pearson(int(passed), n, level=1.0 - tail)
    moved = float(stats.norm.isf(tail / 2.0)) * float(np.std(drawn / n))
    lo, hi = value - math.hypot(value - exact[0], moved), value + math.hypot(exact[1] - value, moved)
    return Estimate(value, lo, hi, fpr, 1.0, n).clipped(0.0, 1.0)


def _thresholds(outside: Array, fpr: float, weights: Array) -> Array:
    """For each of the weights (draws, n_out) the lowest score of a non-member above which at most `fpr` of them are."""
    order = np.argsort(-outside, kind="stable")
    looked = min(len(order), 64 + 4 * math.ceil(fpr * len(order)))
    while True:
        upto = np.cumsum(weights[:, order[:looked]], axis=1)
        above = np.concatenate([np.zeros((len(upto), 1)), upto[:, :-1]], axis=1)
        place = (above <= fpr + _ROUNDING).sum(1) - 1
        if looked == len(order) or place.max() < looked - 1:
            return np.asarray(outside[order[place]])
        looked = len(order)
