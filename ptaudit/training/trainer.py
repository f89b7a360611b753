"""Training, replayed: minibatches, optimizer and epochs of the spec."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ptaudit.data.records import Records
from ptaudit.data.split import Split
from ptaudit.errors import ModelError, PtauditError, RunFolderError, TrainingDivergedError, first_line, in_one_line
from ptaudit.gradients.record_losses import PerRecordLoss
from ptaudit.model_input import to_device
from ptaudit.spec.defenses import UNDEFENDED
from ptaudit.training.augment import Augment, augment_generator
from ptaudit.training.checkpoint import Checkpoint, CheckpointStore
from ptaudit.training.epoch_snapshot import EpochStats, StepWatch
from ptaudit.training.evaluate import evaluate, members_evaluated
from ptaudit.training.optimizer import make_optimizer, set_rate
from ptaudit.training.sampling import epoch_batches, steps_per_epoch
from ptaudit.training.seeding import NOISE, derived_seed, seeded
from ptaudit.training.steps import Batch, StepContext, make_step
from ptaudit.training.trajectory import StepProgress, Trajectory, copy_of_state

if TYPE_CHECKING:
    from ptaudit.spec.model import TrainSpec

_RESIDENT_SHARE = 0.25  # of the free memory of a device, for the records


class Replay(Trajectory):
    """One training run of the spec.

    The order of the records, the dropout and any other noise of an epoch depend on (seed, epoch) only, and the learning
    rate on the epoch: a run that goes on from a checkpoint ends with the same weights, bit for bit on the CPU.

    Args:
        model: the model with its initial weights; moved to `device` and trained in place.
        records: all records.
        split: which of them are trained on and which are held out.
        train: epochs, batch size, optimizer and schedule, and how a step is taken.
        loss: per-record loss; its mean over the batch is minimised.
        seed: seed of the order, of dropout and of other noise.
        device: where to train.
        augment: what changes the inputs of a training batch; the evaluation sees them as they are.
        keep_before: give the weights of the epoch before, too.

    Raises:
        PtauditError: the model cannot be trained in the way of the spec, or a package for it is missing.
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
        augment: Augment | None = None,
        *,
        keep_before: bool = False,
    ) -> None:
        self.model = model.to(device)
        records = (train.defense or UNDEFENDED).relabelled(records, split, seed)
        self.records = resident(records, device)
        self.split = split
        self.train = train
        self.loss = loss
        self.seed = seed
        self.device = device
        self.augment = augment
        self.keep_before = keep_before
        self.optimizer = make_optimizer(self.model.parameters(), train.optimizer)
        what = (self.model, loss, self.optimizer, self.records, split)
        self.step = make_step(StepContext(*what, self._batch, seed, device), train)
        self.stats: list[EpochStats] = []

    def epochs(self) -> Sequence[int]:
        """Before training, and every epoch."""
        return range(self.train.epochs + 1)

    def before(self, epoch: int) -> dict[str, Any] | None:
        """A copy of the weights as they are."""
        return copy_of_state(self.model) if epoch else None

    def advance(self, epoch: int, progress: StepProgress | None, watch: StepWatch | None) -> EpochStats:
        """Train an epoch."""
        return self._closed(epoch, self.train_epoch(epoch, progress, watch) if epoch else 0)

    def checkpoint(self) -> Checkpoint:
        """Weights, optimizer and what a step remembers."""
        states = self.model.state_dict(), self.optimizer.state_dict()
        return Checkpoint(*states, tuple(self.stats), self.step.state())

    def prove(self) -> None:
        """Show that a step can be taken: the model in training mode, the loss, the optimizer, the precision.

        Changes the weights: for a model to throw away.

        Raises:
            PtauditError: what fails.
        """
        try:
            self._trial_steps(1)
        except PtauditError:
            raise
        except Exception as error:  # the user's model, loss and optimizer can fail in any way
            raise ModelError(
                f"a training step failed: {in_one_line(error)}",
                where="train",
                remedy="look whether the model runs in training mode on a batch, and the loss takes what it returns",
            ) from error

    def time_steps(self, steps: int) -> float:
        """Median seconds of a training step after one to warm up. Changes the weights: for a model to throw away."""
        return statistics.median(self._trial_steps(steps + 1)[1:])

    def _trial_steps(self, steps: int) -> list[float]:
        """Seconds of steps on the first members."""
        self.model.train()
        index, times = self.split.members[: self.train.batch_size], []
        with seeded(derived_seed(self.seed, NOISE, 1), self.device):
            self.step.begin(1)
            for number in range(1, steps + 1):
                began = time.perf_counter()
                losses = self._step(self._batch(index, augment_generator(self.seed, 1)), number, None)
                losses[-1].sum().item()  # waits for the device
                times.append(time.perf_counter() - began)
        return times

    def evaluate(self, index: NDArray[np.int64]) -> tuple[float, float]:
        """Mean loss and accuracy over some records, in eval mode and float32; the accuracy is NaN without classes."""
        return evaluate(self.model, self.records, self.loss, index)

    def train_epoch(self, epoch: int, progress: StepProgress | None = None, watch: StepWatch | None = None) -> int:
        """Train an epoch, 1 the first, and evaluate nothing; returns how many steps were taken since the start.

        Raises:
            TrainingDivergedError: the loss of a step is not finite.
        """
        set_rate(self.optimizer, self.train, epoch)
        self.model.train()
        self.step.begin(epoch)
        batches, draws = steps_per_epoch(self.train, len(self.split.members)), augment_generator(self.seed, epoch)
        step = (epoch - 1) * batches
        with seeded(derived_seed(self.seed, NOISE, epoch), self.device):
            for number, index in enumerate(epoch_batches(self.train, self.split.members, self.seed, epoch), start=1):
                step += 1
                losses = self._step(self._batch(index, draws), step, watch)
                loss = sum(float(some.sum(dtype=torch.float64)) for some in losses)
                if not math.isfinite(loss):
                    raise TrainingDivergedError(
                        f"the training loss is {loss} in epoch {epoch}, step {step}",
                        remedy="lower train.optimizer.lr",
                    )
                if progress is not None:
                    progress(epoch, number, batches)
        return step

    def _step(self, batch: Batch, number: int, watch: StepWatch | None) -> list[Tensor]:
        try:
            return self.step(batch, number, watch)
        except torch.OutOfMemoryError as error:
            raise PtauditError(
                f"the device has no memory left for a training step of {len(batch)} records",
                where="train.batch_size",
                remedy="split the batch with train.accumulate",
            ) from error
        except ModelError as error:
            if error.where != "train.loss":
                raise
            raise ModelError(f"in training mode {error.what}", where=error.where, remedy=error.remedy) from error
        except (ValueError, RuntimeError, NotImplementedError) as error:
            known = self._explained(first_line(error))
            if known is None:
                raise
            raise known from error

    def _explained(self, said: str) -> ModelError | None:
        """What is known of an error in a step."""
        if "more than 1 value per channel" in said:
            return ModelError(
                "BatchNorm cannot train on a batch of one record",
                where="train.batch_size",
                remedy=f"choose one that leaves no single record of {len(self.split.members)} members"
                + (" in a micro-batch" if self.train.accumulate > 1 else ""),
            )
        if "sparse" in said.lower():
            layers = [name for name, module in self.model.named_modules() if getattr(module, "sparse", False)]
            return ModelError(
                f"the optimizer does not take sparse gradients, of layer {', '.join(layers) or '(unknown)'}: {said}",
                where="train.optimizer",
                remedy="build the embedding with sparse=False, or train with sgd without weight_decay",
            )
        return None

    def _closed(self, epoch: int, step: int) -> EpochStats:
        train_loss, train_accuracy = self.evaluate(members_evaluated(self.split.members))
        held_out_loss, held_out_accuracy = self.evaluate(self.split.held_out)
        if not math.isfinite(train_loss + held_out_loss):
            raise TrainingDivergedError(
                f"the loss after epoch {epoch}, step {step}, is {train_loss} on members and {held_out_loss} held out",
                remedy="lower train.optimizer.lr"
                if epoch
                else "check the model's initial weights and the scale of the inputs",
            )
        spent = self.step.epsilon(step)
        return EpochStats(epoch, step, train_loss, train_accuracy, held_out_loss, held_out_accuracy, spent)

    def _batch(self, index: NDArray[np.int64], draws: torch.Generator | None = None) -> Batch:
        inputs, targets = self.records.batch(torch.from_numpy(index))
        inputs = to_device(inputs, self.device)
        if self.augment is not None and draws is not None and len(index):
            inputs = self.augment(inputs, draws)
        return Batch(index, inputs, targets.to(self.device))

    def resume(self, store: CheckpointStore) -> None:
        """Go on from the last whole epoch."""
        saved = store.latest()
        if saved is None:
            return
        try:
            self.model.load_state_dict(saved.model)
            self.optimizer.load_state_dict(saved.optimizer)
            self.step.load(saved.extra)
        except (RuntimeError, ValueError, KeyError) as error:
            raise RunFolderError(
                "the checkpoint does not fit the model", where=str(store.path), remedy="use --fresh to start again"
            ) from error
        self.stats = list(saved.stats)


def resident(records: Records, device: torch.device) -> Records:
    """The records on the device, where they may lie there for the whole run; else as they are."""
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        if records.nbytes >= _RESIDENT_SHARE * free:
            return records
    return records.to(device)
