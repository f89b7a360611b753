"""Randomised response with a prior, the mechanism of label differential privacy (Ghazi et al., arXiv 2102.06062)."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray


def kept_labels(prior: ArrayLike, epsilon: float) -> NDArray[np.int64]:
    """Among how many of its likeliest labels the response of each record is drawn (their Algorithm 2).

    The k that maximises `exp(eps) / (exp(eps) + k - 1) * sum of the k largest prior probabilities`, the chance of an
    honest response; the largest such k.

    Args:
        prior: probability of every label, `(..., K)`; need not add up to 1.
        epsilon: privacy of one label, at least 0; infinite for none.

    Returns:
        `(...)`.
    """
    top = np.sort(_checked(prior, epsilon), axis=-1)[..., ::-1].cumsum(-1)
    k = np.arange(1, top.shape[-1] + 1)
    honest = top / (1.0 + (k - 1) * np.exp(-epsilon))
    best = honest.max(-1, keepdims=True)
    return np.asarray(top.shape[-1] - np.argmax((honest >= best * (1 - 1e-12))[..., ::-1], axis=-1))


def response_probabilities(labels: ArrayLike, prior: ArrayLike, epsilon: float) -> NDArray[np.float64]:
    """Probability of every response to true labels, `(..., K)`.

    A label among the k likeliest is kept with probability `exp(eps) / (exp(eps) + k - 1)`, else any other of them is
    shown; a label that is not among them shows any of them, all with the same probability (their Algorithm 1). Two true
    labels never differ by more than a factor `exp(eps)` in the probability of a response, whatever the prior. It must
    not be made from the label itself. With a prior alike for all labels this is plain randomised response.

    Args:
        labels: classes 0..K-1, `(...)`.
        prior: probability of every label, `(..., K)`; broadcast against the labels. Of equally likely labels the first
            ones count as the likelier.
        epsilon: privacy of one label, at least 0; infinite for none.

    Raises:
        ValueError: a probability is negative or not finite, all are 0, or epsilon is negative.
    """
    given, true = _checked(prior, epsilon), np.asarray(labels)
    rank = np.argsort(np.argsort(-given, axis=-1, kind="stable"), axis=-1, kind="stable")
    k = kept_labels(given, epsilon)[..., None]
    rank, k, true = np.broadcast_arrays(rank, k, true[..., None])
    own = np.take_along_axis(rank, true[..., :1], axis=-1)
    weight = np.where(rank == own, 1.0, np.exp(-epsilon)) / (1.0 + (k - 1) * np.exp(-epsilon))
    return np.asarray(np.where(rank < k, np.where(own < k, weight, 1.0 / k), 0.0), dtype=np.float64)


def response_table(prior: ArrayLike, epsilon: float) -> NDArray[np.float64]:
    """The same for every true label, `(..., K)` -> `(..., K true, K shown)`."""
    given = np.asarray(prior, dtype=np.float64)
    return response_probabilities(np.arange(given.shape[-1]), given[..., None, :], epsilon)


def randomise(
    labels: NDArray[np.integer[Any]], prior: ArrayLike, epsilon: float, draws: NDArray[np.float64]
) -> NDArray[np.int64]:
    """A response for every label, drawn independently.

    Args:
        labels: classes 0..K-1, `(...)`.
        prior: `(K,)`, for all records.
        epsilon: privacy of one label.
        draws: uniform numbers from 0 to below 1, one for each label.
    """
    table = response_table(prior, epsilon)
    past: NDArray[np.int64] = (draws[..., None] >= table.cumsum(1)[labels]).sum(-1)
    last = table.shape[1] - 1 - np.argmax(table[:, ::-1] > 0, axis=1)
    return np.asarray(np.minimum(past, last[labels]))  # rounding must not lead past the last one


def _checked(prior: ArrayLike, epsilon: float) -> NDArray[np.float64]:
    given = np.asarray(prior, dtype=np.float64)
    if not (np.isfinite(given).all() and (given >= 0).all() and (given.sum(-1) > 0).all()):
        raise ValueError("a prior has probabilities, and one above 0")
    if not epsilon >= 0:
        raise ValueError(f"epsilon must be at least 0, not {epsilon}")
    return given
