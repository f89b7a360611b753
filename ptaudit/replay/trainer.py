"""Training, replayed: minibatches, optimizer and epochs of the spec, and observers between the epochs."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ptaudit.errors import ModelError, RunFolderError, TrainingDivergedError
from ptaudit.replay.batch import Inputs, call, count, to_device
from ptaudit.replay.checkpoint import Checkpoint, CheckpointStore
from ptaudit.replay.data.records import Records
from ptaudit.replay.loss import PerRecordLoss
from ptaudit.replay.moment import EpochStats, Moment, Observer
from ptaudit.replay.optimizer import make_optimizer, rate_factor
from ptaudit.replay.seeding import NOISE, ORDER, derived_seed, seeded
from ptaudit.replay.split import Split

if TYPE_CHECKING:
    from ptaudit.spec.model import TrainSpec

__all__ = ["EpochStats", "Moment", "Observer", "Progress", "Replay"]

Progress = Callable[[int, int, int], None]
"""Told (epoch, batch, batches) after every step."""

_EVALUATION_BATCH = 512
_EPOCH_0_MEMBERS = 2000
_RESIDENT_SHARE = 0.25  # of the free memory of a device, for the records


class Replay:
    """One training run of the spec.

    The order of the records and the dropout of an epoch depend on (seed, epoch) only, and the learning rate on the
    epoch: a run that goes on from a checkpoint ends with the same weights, bit for bit on the CPU.

    Args:
        model: the model with its initial weights; moved to `device` and trained in place.
        records: all records.
        split: which of them are trained on and which are held out.
        train: epochs, batch size, optimizer and schedule.
        loss: per-record loss; its mean over the batch is minimised.
        seed: seed of the order and of dropout.
        device: where to train.

    Attributes:
        stats: the statistics of the whole epochs so far, kept when training diverges or is interrupted.
    """

    def __init__(
        self,
        model: nn.Module,
        records: Records,
        split: Split,
        train: TrainSpec,
        loss: PerRecordLoss,
        seed: int,
        device: torch.device,
    ) -> None:
        self.model = model.to(device)
        self.records = records.to(device) if _fits(records, device) else records
        self.split = split
        self.train = train
        self.loss = loss
        self.seed = seed
        self.device = device
        self.optimizer = make_optimizer(self.model, train.optimizer)
        self.stats: list[EpochStats] = []

    def run(
        self,
        audited: Collection[int],
        observers: Sequence[Observer],
        *,
        checkpoint: CheckpointStore | None = None,
        progress: Progress | None = None,
    ) -> list[EpochStats]:
        """Train all epochs and call the observers at the audited ones.

        An epoch is whole once its observers have returned: only then is it saved. Interrupted before that, it is
        repeated; observers of whole epochs are not called again.

        Args:
            audited: epochs at which observers are called; 0 is before training.
            observers: called in order; they must leave the model's state as it was.
            checkpoint: where whole epochs are kept and taken up again; None to keep nothing.
            progress: told after every step.

        Returns:
            The statistics of epochs 0 to the last.

        Raises:
            TrainingDivergedError: the loss is no longer finite; `stats` and the checkpoint hold the epochs before.
            RunFolderError: the checkpoint is damaged or belongs to another run.
        """
        if checkpoint is not None:
            self._resume(checkpoint)
        for epoch in range(len(self.stats), self.train.epochs + 1):
            stats = self._epoch(epoch, progress) if epoch else self._before_training()
            if epoch in audited:
                for observe in observers:
                    observe(Moment(epoch, stats.step, self.model, stats))
            self.stats.append(stats)
            if checkpoint is not None:
                checkpoint.save(Checkpoint(self.model.state_dict(), self.optimizer.state_dict(), tuple(self.stats)))
        return list(self.stats)

    def time_steps(self, steps: int) -> float:
        """Median seconds of a training step after one to warm up. Changes the weights: for a model to throw away."""
        self.model.train()
        times = []
        for _ in range(steps + 1):
            began = time.perf_counter()
            inputs, targets = next(self._batches(self.split.members, self.train.batch_size))
            losses, _ = self._step(inputs, targets)
            losses.sum().item()  # waits for the device
            times.append(time.perf_counter() - began)
        return statistics.median(times[1:])

    def evaluate(self, index: NDArray[np.int64]) -> tuple[float, float]:
        """Mean loss and accuracy over some records, in eval mode; the accuracy is NaN unless targets are classes."""
        self.model.eval()
        tally = _Tally(self.records.classes)
        with torch.no_grad():
            for inputs, targets in self._batches(index, _EVALUATION_BATCH):
                output = call(self.model, inputs)
                tally.add(self.loss(output, targets), output, targets)
        return tally.loss, tally.accuracy

    def _before_training(self) -> EpochStats:
        return self._closed(0, 0, *self.evaluate(self.split.members[:_EPOCH_0_MEMBERS]))

    def _epoch(self, epoch: int, progress: Progress | None) -> EpochStats:
        order = np.random.default_rng(derived_seed(self.seed, ORDER, epoch)).permutation(self.split.members)
        self._set_rate(epoch)
        self.model.train()
        batches = math.ceil(len(order) / self.train.batch_size)
        step, tally = self.stats[-1].step, _Tally(self.records.classes)
        with seeded(derived_seed(self.seed, NOISE, epoch), self.device):
            for batch, (inputs, targets) in enumerate(self._batches(order, self.train.batch_size), start=1):
                step += 1
                losses, output = self._step(inputs, targets)
                tally.add(losses, output, targets)
                if not math.isfinite(tally.loss):
                    raise TrainingDivergedError(
                        f"the training loss is {tally.loss} in epoch {epoch}, step {step}",
                        remedy="lower train.optimizer.lr",
                    )
                if progress is not None:
                    progress(epoch, batch, batches)
        return self._closed(epoch, step, tally.loss, tally.accuracy)

    def _step(self, inputs: Inputs, targets: Tensor) -> tuple[Tensor, Any]:
        try:
            output = call(self.model, inputs)
        except ValueError as error:
            if count(inputs) == 1 and "more than 1 value per channel" in str(error):
                raise ModelError(
                    "BatchNorm cannot train on a batch of one record",
                    where="train.batch_size",
                    remedy=f"choose one that leaves no single record of {len(self.split.members)} members",
                ) from error
            raise
        losses = self.loss(output, targets)
        torch.autograd.backward(losses.mean())
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        return losses.detach(), output

    def _closed(self, epoch: int, step: int, train_loss: float, train_accuracy: float) -> EpochStats:
        held_out_loss, held_out_accuracy = self.evaluate(self.split.held_out)
        if not math.isfinite(train_loss + held_out_loss):
            raise TrainingDivergedError(
                f"the loss after epoch {epoch}, step {step}, is {train_loss} on members and {held_out_loss} held out",
                remedy="lower train.optimizer.lr"
                if epoch
                else "check the model's initial weights and the scale of the inputs",
            )
        return EpochStats(epoch, step, train_loss, train_accuracy, held_out_loss, held_out_accuracy)

    def _batches(self, index: NDArray[np.int64], size: int) -> Iterator[tuple[Inputs, Tensor]]:
        for start in range(0, len(index), size):
            inputs, targets = self.records.batch(torch.from_numpy(index[start : start + size]))
            yield to_device(inputs, self.device), targets.to(self.device)

    def _set_rate(self, epoch: int) -> None:
        factor = rate_factor(self.train.schedule, epoch, self.train.epochs)
        for group in self.optimizer.param_groups:
            group["lr"] = self.train.optimizer.lr * factor

    def _resume(self, store: CheckpointStore) -> None:
        saved = store.latest()
        if saved is None:
            return
        try:
            self.model.load_state_dict(saved.model)
            self.optimizer.load_state_dict(saved.optimizer)
        except (RuntimeError, ValueError, KeyError) as error:
            raise RunFolderError(
                "the checkpoint does not fit the model", where=str(store.path), remedy="use --fresh to start again"
            ) from error
        self.stats = list(saved.stats)


class _Tally:
    """Running mean of loss and accuracy over records."""

    def __init__(self, classes: int | None) -> None:
        self._counts_hits = classes is not None
        self._sum, self._hits, self._n = 0.0, 0, 0

    def add(self, losses: Tensor, output: Any, targets: Tensor) -> None:
        self._sum += float(losses.sum(dtype=torch.float64))
        self._n += len(losses)
        if self._counts_hits:
            hits = _hits(output, targets)
            self._counts_hits = hits is not None
            self._hits += hits or 0

    @property
    def loss(self) -> float:
        return self._sum / self._n

    @property
    def accuracy(self) -> float:
        return self._hits / self._n if self._counts_hits else math.nan


def _hits(output: Any, targets: Tensor) -> int | None:
    """How many classes are right; None when the output is neither class scores (n, C) nor one logit a record."""
    if not isinstance(output, Tensor):
        return None
    if output.dim() == 2 and output.shape[1] > 1:
        guess = output.argmax(1)
    elif output.numel() == len(targets):
        guess = (output.reshape(len(targets)) > 0).to(targets.dtype)
    else:
        return None
    return int((guess == targets).sum())


def _fits(records: Records, device: torch.device) -> bool:
    """Whether the records may lie on the device for the whole run."""
    if device.type != "cuda":
        return True
    free, _ = torch.cuda.mem_get_info(device)
    return records.nbytes < _RESIDENT_SHARE * free
