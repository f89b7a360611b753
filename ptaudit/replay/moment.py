"""What the trainer tells its observers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import nn


@dataclass(frozen=True)
class EpochStats:
    """How the training stood after an epoch; epoch 0 is before training.

    Attributes:
        epoch: number of whole epochs trained.
        step: number of optimizer steps taken.
        train_loss: mean loss over the members as they were trained on (epoch 0: over a sample of them, in eval mode).
        train_accuracy: the same for the accuracy; NaN unless targets are classes.
        held_out_loss: mean loss over the held-out records, in eval mode.
        held_out_accuracy: the same for the accuracy; NaN unless targets are classes.
    """

    epoch: int
    step: int
    train_loss: float
    train_accuracy: float
    held_out_loss: float
    held_out_accuracy: float


@dataclass(frozen=True)
class Moment:
    """One audited epoch, and the model as it is then: an observer may change its mode, never its state."""

    epoch: int
    step: int
    model: nn.Module
    stats: EpochStats


Observer = Callable[[Moment], None]
