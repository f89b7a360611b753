"""How hard a record is to learn, from models that never saw it.

Of models WITH the record difficulty would be mixed up with what they remember of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.distance import cdist

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Difficulty:
    """Of n records, `(n,)` each, higher = harder.

    Attributes:
        iteration_learned: epoch from which on a model is right at every epoch (Baldock et al., arXiv 2106.09647: from
            which on it says what it says in the end; here that must be right), mean over models; one that never is
            counts as one step after the last epoch.
        never_learned: share of models that are not right at the last epoch, 1 - consistency (the C-score of Jiang et
            al., arXiv 2002.03206, of one size of training set).
        wrong: share of models that are wrong, mean over epochs.
    """

    iteration_learned: Array
    never_learned: Array
    wrong: Array

    def by_name(self) -> dict[str, Array]:
        """The three by name."""
        return dict(vars(self))


def difficulty(correct: Mask, outside: Mask, epochs: Array) -> Difficulty:
    """Difficulty from what is right at E epochs.

    Args:
        correct: (E, N, n), whether a model is right about a record.
        outside: (N, n), whether it was not trained on it.
        epochs: (E,), ascending, at least two.

    Raises:
        ValueError: for shapes that do not fit, or a record that all models were trained on.
    """
    _refuse(correct, outside, epochs)
    to_the_end = np.logical_and.accumulate(correct[::-1])[::-1]
    later = np.append(epochs, 2.0 * epochs[-1] - epochs[-2])
    learned = later[len(epochs) - to_the_end.sum(0)]
    return Difficulty(
        _mean(learned, outside),
        _mean(~correct[-1], outside),
        np.mean([_mean(~one, outside) for one in correct], axis=0),
    )


def held_out_losses(losses: Array, outside: Mask) -> Array:
    """Mean loss of each record over the models without it, at E epochs.

    Args:
        losses: (E, N, n), nats.
        outside: (N, n).

    Returns:
        (E, n).

    Raises:
        ValueError: for shapes that do not fit, or a record that all models were trained on.
    """
    _refuse(losses, outside, np.arange(len(losses), dtype=np.float64))
    return np.stack([_mean(one, outside) for one in losses])


NEIGHBOURS = 30
"""Of a probe, as in the paper."""

_ROWS = 512


@dataclass(frozen=True)
class Probed:
    """Hidden features of the same layers, the first ones first.

    Attributes:
        known: of k records whose class is known, `(k, d)` for each layer.
        labels: their classes, `(k,)`.
        asked: of n other records, `(n, d)` for each layer.
    """

    known: Sequence[Array]
    labels: NDArray[np.int64]
    asked: Sequence[Array]


def prediction_depth(layers: Probed, said: NDArray[np.int64], neighbours: int = NEIGHBOURS) -> NDArray[np.int64]:
    """Layer from which on a k-nearest-neighbours probe says what the model says in the end (arXiv 2106.09647, 2.2).

    Args:
        layers: of a model that was not trained on the records that are asked about.
        said: classes that the model says of these, `(n,)`.
        neighbours: of the probe; ties go to the smaller class.

    Returns:
        `(n,)`, 0 for the first layer; as many as there are layers where not even the last one agrees.

    Raises:
        ValueError: no layers, or fewer known records than neighbours.
    """
    if not layers.known or len(layers.labels) < neighbours:
        raise ValueError(f"{len(layers.known)} layers and {len(layers.labels)} known records, needs {neighbours}")
    agrees = np.stack([_probe(*pair, layers.labels, neighbours) == said for pair in zip(layers.asked, layers.known)])
    return np.asarray(len(agrees) - np.logical_and.accumulate(agrees[::-1]).sum(0), dtype=np.int64)


def _probe(asked: Array, known: Array, labels: NDArray[np.int64], neighbours: int) -> NDArray[np.int64]:
    """The most frequent class among the nearest known records, `(n,)`."""
    found = []
    for start in range(0, len(asked), _ROWS):
        distance = cdist(asked[start : start + _ROWS], known, "sqeuclidean")
        near = labels[np.argsort(distance, axis=1, kind="stable")[:, :neighbours]]
        votes = (near[:, :, None] == np.arange(labels.max() + 1)).sum(1)
        found.append(votes.argmax(1))
    return np.concatenate(found)


def _mean(values: Array | Mask | NDArray[np.int64], outside: Mask) -> Array:
    return np.asarray(np.where(outside, values, 0.0).sum(0) / outside.sum(0))


def _refuse(values: Array | Mask, outside: Mask, epochs: Array) -> None:
    if values.ndim != 3 or values.shape[1:] != outside.shape or values.shape[:1] != epochs.shape:
        raise ValueError(f"{values.shape} is not (epochs, models, records) of {epochs.shape} and {outside.shape}")
    if len(epochs) < 2 or not (np.diff(epochs) > 0).all():
        raise ValueError(f"difficulty needs two ascending epochs or more, not {epochs.tolist()}")
    if trained := int((outside.sum(0) == 0).sum()):
        raise ValueError(f"{trained} records have no model that was not trained on them")
