"""What a training tells of an epoch, and who looks on meanwhile."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn


@dataclass(frozen=True)
class EpochStats:
    """How the training stood after an epoch; epoch 0 is before training.

    Attributes:
        epoch: number of whole epochs trained.
        step: number of optimizer steps taken.
        train_loss: mean loss of the model as it is then over the members, at most 10,000 of them, in eval mode.
        train_accuracy: the same for the accuracy; NaN unless targets are classes.
        held_out_loss: the same over all held-out records.
        held_out_accuracy: the same for the accuracy; NaN unless targets are classes.
        epsilon: privacy spent on the members so far; None where training promises none.
    """

    epoch: int
    step: int
    train_loss: float
    train_accuracy: float
    held_out_loss: float
    held_out_accuracy: float
    epsilon: float | None = None


@dataclass(frozen=True)
class EpochSnapshot:
    """One audited epoch, and the model as it is then: who looks at it may change its mode, never its state.

    Attributes:
        before: the state of the model one epoch (or checkpoint) earlier, for adversaries whose weights are late; None
            where there is none or nobody asked.
    """

    epoch: int
    step: int
    model: nn.Module
    stats: EpochStats
    before: Mapping[str, Tensor] | None = None


class StepWatch(Protocol):
    """Looks on while the trainer works, at the very batches it trains on."""

    def __call__(self, step: int, index: NDArray[np.int64], factor: float) -> AbstractContextManager[None]:
        """Entered around the forward and backward pass of a (micro-)batch, with the model in training mode.

        Args:
            step: the optimizer step that the pass belongs to, from 1.
            index: the records of the batch.
            factor: what turns the gradient of this backward pass into the sum of the records' own gradients: the
                number of records that the loss is averaged over, divided by the scale of the loss.
        """
