"""The weights of a training, epoch by epoch, and those who look at them: trained here, or read from checkpoints."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Any

from torch import Tensor, nn

from ptaudit.training.checkpoint import Checkpoint, CheckpointStore
from ptaudit.training.epoch_snapshot import EpochSnapshot, EpochStats, StepWatch

StepProgress = Callable[[int, int, int], None]
"""Told (epoch, batch, batches) after every step, or every checkpoint."""


class Trajectory(ABC):
    """Goes through the epochs, and stops at the audited ones.

    Attributes:
        model: whose weights those of the epochs become.
        stats: the statistics of the whole epochs so far, kept when training diverges or is interrupted.
        keep_before: whether snapshots have the weights of the epoch before, too.
    """

    model: nn.Module
    stats: list[EpochStats]
    keep_before: bool

    def snapshots(
        self,
        audited: Collection[int],
        *,
        checkpoint: CheckpointStore | None = None,
        progress: StepProgress | None = None,
        watch: StepWatch | None = None,
    ) -> Iterator[EpochSnapshot]:
        """Go through all epochs and stop at the audited ones, for who asks for the next one must have looked.

        An epoch is whole once the one after it is asked for: only then is it saved. Interrupted before that, it is
        repeated; there are no snapshots of whole epochs again.

        Args:
            audited: epochs of which there are snapshots; 0 is before training.
            checkpoint: where whole epochs are kept and taken up again; None to keep nothing.
            progress: told after every step, or every checkpoint.
            watch: looks on at every forward and backward pass; it must leave the training as it was.

        Yields:
            The model as it is then; its state must be left as it was.

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
                yield EpochSnapshot(epoch, stats.step, self.model, stats, before)
            self.stats.append(stats)
            if checkpoint is not None:
                checkpoint.save(self.checkpoint())

    def run(
        self, audited: Collection[int], observers: Sequence[Callable[[EpochSnapshot], None]], **options: Any
    ) -> list[EpochStats]:
        """Call observers at the audited epochs, in order; see `snapshots`. Returns the statistics of all epochs."""
        for snapshot in self.snapshots(audited, **options):
            for observe in observers:
                observe(snapshot)
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
    def advance(self, epoch: int, progress: StepProgress | None, watch: StepWatch | None) -> EpochStats:
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
