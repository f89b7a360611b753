"""The weights of a training, epoch by epoch, and those who look at them: trained here, or read from checkpoints."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Sequence
from typing import Any

from torch import Tensor, nn

from ptaudit.training.checkpoint import Checkpoint, CheckpointStore
from ptaudit.training.epoch_snapshot import EpochSnapshot, EpochStats, Observer, StepWatch

Progress = Callable[[int, int, int], None]
"""Told (epoch, batch, batches) after every step, or every checkpoint."""


class Trajectory(ABC):
    """Goes through the epochs and calls observers.

    Attributes:
        model: whose weights those of the epochs become.
        stats: the statistics of the whole epochs so far, kept when training diverges or is interrupted.
        keep_before: whether observers are given the weights of the epoch before, too.
    """

    model: nn.Module
    stats: list[EpochStats]
    keep_before: bool

    def run(
        self,
        audited: Collection[int],
        observers: Sequence[Observer],
        *,
        checkpoint: CheckpointStore | None = None,
        progress: Progress | None = None,
        watch: StepWatch | None = None,
    ) -> list[EpochStats]:
        """Go through all epochs and call the observers at the audited ones.

        An epoch is whole once its observers have returned: only then is it saved. Interrupted before that, it is
        repeated; observers of whole epochs are not called again.

        Args:
            audited: epochs at which observers are called; 0 is before training.
            observers: called in order; they must leave the model's state as it was.
            checkpoint: where whole epochs are kept and taken up again; None to keep nothing.
            progress: told after every step, or every checkpoint.
            watch: looks on at every forward and backward pass; it must leave the training as it was.

        Returns:
            The statistics of all epochs.

        Raises:
            TrainingDivergedError: the loss is no longer finite; `stats` and the checkpoint hold the epochs before.
            RunFolderError: the checkpoint is damaged or belongs to another run.
            PtauditError: what else an epoch fails by.
        """
        if checkpoint is not None:
            self.resume(checkpoint)
        for epoch in self.epochs()[len(self.stats) :]:
            before = self.before(epoch) if self.keep_before and epoch in audited else None
            stats = self.advance(epoch, progress, watch)
            if epoch in audited:
                for observe in observers:
                    observe(EpochSnapshot(epoch, stats.step, self.model, stats, before))
            self.stats.append(stats)
            if checkpoint is not None:
                checkpoint.save(self.checkpoint())
        return list(self.stats)

    @abstractmethod
    def prove(self) -> None:
        """Show that the trajectory can be gone through, before time is spent on it.

        Raises:
            PtauditError: what fails.
        """

    @abstractmethod
    def epochs(self) -> Sequence[int]:
        """All epochs, ascending."""

    @abstractmethod
    def before(self, epoch: int) -> dict[str, Any] | None:
        """A copy of the weights that precede those of an epoch; None for the first."""

    @abstractmethod
    def advance(self, epoch: int, progress: Progress | None, watch: StepWatch | None) -> EpochStats:
        """Bring the model to its weights after an epoch."""

    @abstractmethod
    def checkpoint(self) -> Checkpoint:
        """What a resumed run goes on from."""

    @abstractmethod
    def resume(self, store: CheckpointStore) -> None:
        """Go on from what was kept, if there is anything."""


def copy_of_state(model: nn.Module) -> dict[str, Any]:
    """A copy of the model's state dict, on the CPU."""
    return {
        name: value.detach().to("cpu", copy=True) if isinstance(value, Tensor) else copy.deepcopy(value)
        for name, value in model.state_dict().items()
    }
