"""What classifiers' outputs say of a record: stable at any size of the logits, unmoved by a constant added to them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.special import logsumexp

Array = NDArray[np.float64]

LIMIT = 1e9
"""Losses and confidences beyond it are told apart no further, so that squares and differences stay finite."""

_TINY = 1e-30


def bounded(values: Array) -> Array:
    """Values within +-`LIMIT`; NaN stays NaN."""
    return np.clip(np.asarray(values, dtype=np.float64), -LIMIT, LIMIT)


def confidence_of_logits(logits: Array, labels: NDArray[np.int64]) -> Array:
    """Logit-scaled confidence log(p / (1 - p)) of the true class (Carlini et al., arXiv 2112.03570).

    It is the label's logit less the log-sum-exp of the others: a probability that rounds to 1 does no harm.

    Args:
        logits: `(..., n, C)`, C at least 2.
        labels: `(n,)` in 0..C-1.

    Returns:
        `(..., n)`.
    """
    place = _places(logits, labels)
    own = np.take_along_axis(logits, place, -1)[..., 0]
    return bounded(own - _without(logits, place))


def loss_of_confidence(confidence: Array) -> Array:
    """Cross-entropy log(1 + exp(-confidence)) in nats, same shape."""
    return bounded(np.logaddexp(0.0, -confidence))


def confidence_of_loss(losses: Array) -> Array:
    """The inverse of `loss_of_confidence`: log(p / (1 - p)) for p = exp(-loss); a loss of 0 has the largest."""
    positive = np.maximum(losses, _TINY)
    return bounded(-positive - np.log(-np.expm1(-positive)))


def confidence_of_error(errors: Array) -> Array:
    """Minus the logarithm of a squared or absolute error: near Gaussian over models, where the error itself is not."""
    return bounded(-np.log(np.maximum(errors, _TINY)))


def modified_entropy(logits: Array, labels: NDArray[np.int64]) -> Array:
    """Modified prediction entropy (Song and Mittal, arXiv 2003.10595, section 3): 0 where the true class is certain.

        Mentr = - (1 - p_y) log p_y - sum over i != y of p_i log(1 - p_i)

    Args:
        logits: `(..., n, C)`, C at least 2.
        labels: `(n,)` in 0..C-1.

    Returns:
        `(..., n)` in nats.
    """
    total = logsumexp(logits, axis=-1, keepdims=True)
    log_p = logits - total
    # Only the largest class can be so near 1 that 1 - p is lost: it has the sum of the others instead.
    largest = logits.argmax(-1)[..., None]
    log_rest = np.log1p(-np.minimum(np.exp(log_p), 0.75))
    np.put_along_axis(log_rest, largest, _without(logits, largest)[..., None] - total, -1)
    place = _places(logits, labels)
    own_log, own_rest = (np.take_along_axis(some, place, -1)[..., 0] for some in (bounded(log_p), bounded(log_rest)))
    others = np.exp(log_p) * bounded(log_rest)
    np.put_along_axis(others, place, 0.0, -1)
    return bounded(-np.exp(own_rest) * own_log - others.sum(-1))


def _places(logits: Array, labels: NDArray[np.int64]) -> NDArray[np.int64]:
    """Labels as indices of the last axis, `(..., n, 1)`."""
    classes = logits.shape[-1]
    if classes < 2:
        raise ValueError("logits need 2 or more classes; of a model with one output give the losses")
    if labels.shape != logits.shape[-2:-1]:
        raise ValueError(f"labels have shape {labels.shape}, logits are of {logits.shape[-2]} records")
    if labels.size and (labels.min() < 0 or labels.max() >= classes):
        raise ValueError(f"labels reach from {labels.min()} to {labels.max()}, logits have {classes} classes")
    return np.broadcast_to(labels[:, None], (*logits.shape[:-1], 1))


def _without(logits: Array, place: NDArray[np.int64]) -> Array:
    """Log-sum-exp over all classes but one, `(..., n)`."""
    rest = logits.copy()
    np.put_along_axis(rest, place, -np.inf, -1)
    return np.asarray(logsumexp(rest, axis=-1))
