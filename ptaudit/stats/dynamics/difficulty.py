"""How hard a record is to learn, from models that never saw it.

Of models WITH the record difficulty would be mixed up with what they remember of it. Prediction depth (Baldock et al.,
arXiv 2106.09647) needs outputs of inner layers and is not here.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

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


def _mean(values: Array | Mask | NDArray[np.int64], outside: Mask) -> Array:
    return np.asarray(np.where(outside, values, 0.0).sum(0) / outside.sum(0))


def _refuse(values: Array | Mask, outside: Mask, epochs: Array) -> None:
    if values.ndim != 3 or values.shape[1:] != outside.shape or values.shape[:1] != epochs.shape:
        raise ValueError(f"{values.shape} is not (epochs, models, records) of {epochs.shape} and {outside.shape}")
    if len(epochs) < 2 or not (np.diff(epochs) > 0).all():
        raise ValueError(f"difficulty needs two ascending epochs or more, not {epochs.tolist()}")
    if trained := int((outside.sum(0) == 0).sum()):
        raise ValueError(f"{trained} records have no model that was not trained on them")
