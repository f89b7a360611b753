"""What the trainer knows of a step: it is given a batch and changes the weights."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ptaudit.data.records import Records
from ptaudit.data.split import Split
from ptaudit.gradients.record_losses import PerRecordLoss
from ptaudit.model_input import Inputs, rows
from ptaudit.training.epoch_snapshot import StepWatch


@dataclass(frozen=True)
class Batch:
    """The records of one step, or of a part of it, on the device.

    Attributes:
        index: (n,) which records these are; n may be 0 where records are sampled.
        inputs: n records.
        targets: (n, ...).
    """

    index: NDArray[np.int64]
    inputs: Inputs
    targets: Tensor

    def __len__(self) -> int:
        return len(self.index)

    def split(self, size: int) -> list[Batch]:
        """The same records in micro-batches of `size`, the last one perhaps smaller."""
        parts = [slice(start, start + size) for start in range(0, len(self), size)]
        return [Batch(self.index[part], rows(self.inputs, part), self.targets[part]) for part in parts]


@dataclass(frozen=True)
class StepContext:
    """What a way of stepping works on.

    Attributes:
        model: the model, on `device`.
        loss: per-record loss.
        optimizer: what is stepped.
        records: all records, as training sees them.
        split: which of them are trained on, and which are held out.
        batch: some records on the device, without augmentation.
        seed: seed of whatever the step draws.
        device: where the model is.
    """

    model: nn.Module
    loss: PerRecordLoss
    optimizer: torch.optim.Optimizer
    records: Records
    split: Split
    batch: Callable[[NDArray[np.int64]], Batch]
    seed: int
    device: torch.device

    @property
    def members(self) -> NDArray[np.int64]:
        """Which records are trained on."""
        return self.split.members


class Step(Protocol):
    """A way to take one step of an optimizer. All its randomness is a function of the seed and the epoch."""

    def begin(self, epoch: int) -> None:
        """Called before the first step of an epoch."""

    def __call__(self, batch: Batch, number: int, watch: StepWatch | None = None) -> list[Tensor]:
        """Change the weights.

        Args:
            batch: the records; the model is in training mode.
            number: which step of the run this is, from 1.
            watch: entered around every forward and backward pass at the weights before the step.

        Returns:
            The losses (n,) at the weights before the step, micro-batch by micro-batch.
        """

    def epsilon(self, steps: int) -> float | None:
        """Privacy spent by the first `steps` steps; None where this way of training promises none."""

    def state(self) -> dict[str, Any]:
        """What the next epoch depends on besides weights and optimizer: numbers only."""

    def load(self, state: Mapping[str, Any]) -> None:
        """Go on from a state."""
