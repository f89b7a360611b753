"""LiRA, the likelihood-ratio attack (Carlini et al., arXiv 2112.03570).

The logit-scaled confidence of a record is Gaussian over models trained with it, and another Gaussian over models that
were not. Online (algorithm 1): the log-ratio of the two densities. Offline (eq. 4): how far the target is above the
models without the record. Variances are each record's own, or, where models are few, one for all records. That one is
pooled within records: the deviations are from each record's mean.
"""

from __future__ import annotations

import numpy as np

from ptaudit.attacks.membership.moments import Moments, moments
from ptaudit.attacks.membership.signals import Array, References, Signals, given


def online(target: Signals, references: References | None) -> Array:
    """Log-likelihood ratio with two variances a record, `(n,)`; needs 2 models inside and 2 outside."""
    inside, outside = _sides(references)
    return _log_density(target.confidence, inside.mean, inside.variance) - _log_density(
        target.confidence, outside.mean, outside.variance
    )


def online_global(target: Signals, references: References | None) -> Array:
    """Log-likelihood ratio with two variances in all, `(n,)`; needs 2 models inside and 2 outside."""
    inside, outside = _sides(references)
    return _log_density(target.confidence, inside.mean, inside.pooled) - _log_density(
        target.confidence, outside.mean, outside.pooled
    )


def offline(target: Signals, references: References | None) -> Array:
    """Spreads above the mean outside, a variance a record, `(n,)`; needs 2 models outside.

    The paper's 1 - Pr[Z > confidence] grows with it, but is 1 for all that is far away.
    """
    _, outside = _sides(references)
    return np.asarray((target.confidence - outside.mean) / np.sqrt(outside.variance))


def offline_global(target: Signals, references: References | None) -> Array:
    """`offline` with one variance for all records, `(n,)`."""
    _, outside = _sides(references)
    return np.asarray((target.confidence - outside.mean) / np.sqrt(outside.pooled))


def _sides(references: References | None) -> tuple[Moments, Moments]:
    known = given(references)
    values = known.signals.confidence
    return moments(values, known.inside), moments(values, known.outside)


def _log_density(values: Array, mean: Array, variance: Array | float) -> Array:
    return np.asarray(-0.5 * (np.log(variance) + np.square(values - mean) / variance))
