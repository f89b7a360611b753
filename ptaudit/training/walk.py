"""A training that already happened: its checkpoints, one after the other, in the place of epochs of training."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ptaudit.data.records import Records
from ptaudit.data.split import Split
from ptaudit.errors import TrainingDivergedError
from ptaudit.gradients.record_losses import PerRecordLoss
from ptaudit.training.checkpoint import Checkpoint, CheckpointStore
from ptaudit.training.epoch_snapshot import EpochStats, StepWatch
from ptaudit.training.evaluate import evaluate, members_evaluated
from ptaudit.training.saved import fitted_to, load_into, load_state
from ptaudit.training.trajectory import StepProgress, Trajectory, copy_of_state


class Walk(Trajectory):
    """Walks over saved checkpoints. One of them is in memory at a time.

    Args:
        model: the model, with any weights; moved to `device`.
        records: all records.
        split: which of them the training saw, as the user says.
        saved: the files with the state dicts by epoch, ascending.
        loss: per-record loss.
        device: where to evaluate and read.
        key: where a file holds the state dict; None for the usual names.
        keep_before: give the weights of the checkpoint before, too.

    Attributes:
        stats: the statistics of the checkpoints so far; the step is 0 where a file does not tell it.
    """

    def __init__(
        self,
        model: nn.Module,
        records: Records,
        split: Split,
        saved: Mapping[int, Path],
        loss: PerRecordLoss,
        device: torch.device,
        *,
        key: str | None = None,
        keep_before: bool = False,
    ) -> None:
        self.model = model.to(device)
        self.records = records
        self.split = split
        self.saved = saved
        self.loss = loss
        self.key = key
        self.keep_before = keep_before
        self.stats: list[EpochStats] = []

    def prove(self) -> None:
        """Show that every checkpoint can be read and fits the model, which is left as it is.

        Raises:
            PtauditError: for the first that does not.
        """
        for path in self.saved.values():
            fitted_to(self.model, load_state(path, self.key)[0], path)

    def epochs(self) -> Sequence[int]:
        """Those that have a checkpoint."""
        return list(self.saved)

    def before(self, epoch: int) -> dict[str, Any] | None:
        """The state of the checkpoint that was walked over last, perhaps in a run that this one resumes."""
        if not self.stats:
            return None
        path = self.saved[self.stats[-1].epoch]
        load_into(self.model, load_state(path, self.key)[0], path)
        return copy_of_state(self.model)

    def checkpoint(self) -> Checkpoint:
        """How far the walk has come."""
        return Checkpoint({}, {}, tuple(self.stats))

    def resume(self, store: CheckpointStore) -> None:
        """Go on after the checkpoints that were walked over."""
        done = store.latest()
        self.stats = list(done.stats) if done is not None else []

    def advance(self, epoch: int, progress: StepProgress | None, watch: StepWatch | None) -> EpochStats:
        """Load a checkpoint."""
        assert watch is None  # nothing is trained
        stats = self._load(epoch)
        if progress is not None:
            progress(epoch, 1, 1)
        return stats

    def _load(self, epoch: int) -> EpochStats:
        path = self.saved[epoch]
        state, step = load_state(path, self.key)
        load_into(self.model, state, path)
        del state
        inside = evaluate(self.model, self.records, self.loss, members_evaluated(self.split.members))
        outside = evaluate(self.model, self.records, self.loss, self.split.held_out)
        if not math.isfinite(inside[0] + outside[0]):
            raise TrainingDivergedError(
                f"the loss at the checkpoint of epoch {epoch} is {inside[0]} on members and {outside[0]} held out",
                where=str(path),
                remedy="leave it out of replay.checkpoints",
            )
        return EpochStats(epoch, step, *inside, *outside)
