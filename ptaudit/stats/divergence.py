"""Jensen-Shannon distance between groups, from what a classifier says of records that it was not fitted to.

The Jensen-Shannon divergence of K distributions, all of the same weight, is the mutual information between a record and
its group where every group is as likely as another (Lin, IEEE Trans. Inf. Theory 37, 1991). Of any posterior q

    log2 K + mean over groups of E[log2 q(group | record)]  <=  divergence  <=  log2 K,

so a posterior that was fitted on other records gives a lower bound, as good as the classifier; no density is estimated.
The distance is the root of divergence / log2 K, a metric in [0, 1] (Endres and Schindelin, IEEE Trans. Inf. Theory 49,
2003): 0 for equal distributions, 1 for such that share no point.
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from ptaudit.stats.binomial import rule_of_three
from ptaudit.stats.bootstrap import from_values
from ptaudit.stats.estimate import Estimate, sqrt_estimate

Array = NDArray[np.float64]
Index = NDArray[np.int64]


def group_mean(values: Array, group: Index) -> float:
    """Mean over groups of the mean over their records: `(N,)`, `(N,)`."""
    return float(np.mean([values[group == g].mean() for g in np.unique(group)]))


def js_distance(bits: Array, null: float, group: Index, fold: Index, seed: int) -> Estimate:
    """Lower bound on the normalised Jensen-Shannon distance of the groups.

    Args:
        bits: log2 of K times the posterior probability of a record's own group, by a posterior over K equally likely
            groups that was fitted to other records, `(N,)`.
        null: mean of such bits with the groups exchanged between records, in fitting and in scoring.
        group: group of each record, `(N,)`.
        fold: the fold of each record, whose posterior was fitted on others, `(N,)`.
        seed: of the resamples.

    Returns:
        The distance with null and the ceiling 1. The interval is over records, groups being given; where folds differ
        by more than the records explain, that widens it.
    """
    groups, counts = np.unique(group, return_counts=True)
    top, n = math.log2(len(groups)), len(group)
    means = np.array([bits[group == g].mean() for g in groups])
    place = np.searchsorted(groups, group)
    per_record = means.mean() + n / (len(groups) * counts[place]) * (bits - means[place])
    by_fold = np.array([per_record[fold == f].mean() for f in np.unique(fold)])
    extra = max(0.0, float(by_fold.var(ddof=1)) / len(by_fold) - float(per_record.var()) / n)
    found = from_values(per_record, null=null, ceiling=top, seed=seed, extra_variance=extra)
    if not found.conclusive:
        return found
    distance = sqrt_estimate(found, top).clipped(0.0, 1.0)
    # Near the ceiling the few records that were taken for another group's say little of those to come.
    least = rule_of_three(1.0, int(counts.min()))
    return replace(distance, lo=min(distance.lo, least)) if distance.value >= 0.99 else distance
