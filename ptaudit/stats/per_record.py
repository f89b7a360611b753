"""Calibration for each record: a false-positive rate that is everybody's, not that of the average.

One threshold for the scores of all records is passed by some records in nearly every model that never saw them, and by
others in none: the rate over pooled scores is no record's own (arXiv 2605.25819). Scores that are standardised, record
by record, over the models without it have the same rate for all.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from ptaudit.stats.student import normal_score

Array = NDArray[np.float64]

MIN_OUT_MODELS = 2
"""Fewest models without each record: one has no spread."""

_LEAST = 1e-12
"""Least variance as a share of the record's and of the mean one: scores that are all equal have none."""

_FARTHEST = 2.0


def fewest_out_models(fpr: float) -> int:
    """Fewest models without each record for a false-positive rate of its own.

    A threshold from k models lies at the t quantile with k - 1 degrees of freedom, times sqrt(1 + 1/k) for the error
    of their mean. With these it is less than twice as far out as from any number of models; with fewer, what is found
    says more of the models that are missing than of the one that is audited. (0.01: 5; 0.001: 7.)
    """
    limit, count = _FARTHEST * stats.norm.isf(fpr), MIN_OUT_MODELS
    while stats.t.isf(fpr, count - 1) * np.sqrt(1.0 + 1.0 / count) >= limit:
        count += 1
    return count


def standardised(scores: Array, known: Array, outside: NDArray[np.bool_]) -> Array:
    """Scores of one model as deviations from the same records' scores in models without them, as normal scores.

    The deviations are Student-t, as the models are few. That scores are Gaussian over models is assumed only of rates
    read off the normal distribution; a threshold over the standardised scores of all records (as in `two_way`) asks no
    more than that records have tails of the same shape.

    Args:
        scores: (n,) of the target.
        known: (N, n) of other models, none of which was scored with the help of the target.
        outside: (N, n), which of them are models without a record.

    Returns:
        (n,), standard normal where scores are Gaussian and the target is a model without the record.

    Raises:
        ValueError: for a record with fewer than `MIN_OUT_MODELS` models without it.
    """
    count = outside.sum(0)
    if (fewest := int(count.min(initial=len(outside)))) < MIN_OUT_MODELS:
        raise ValueError(f"calibration for each record needs {MIN_OUT_MODELS} models without it, one has {fewest}")
    mean = np.where(outside, known, 0.0).sum(0) / count
    squares = np.where(outside, np.square(known - mean), 0.0).sum(0)
    variance = squares / (count - 1.0)
    least = _LEAST * (variance + variance.mean()) + np.finfo(np.float64).tiny
    error = np.sqrt(np.maximum(variance, least) * (1.0 + 1.0 / count))
    return normal_score((scores - mean) / error, count - 1.0)
