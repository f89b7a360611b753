"""Trains a few reference models: the unit of work, which shares nothing with others."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from ptaudit.errors import TrainingDivergedError
from ptaudit.progress import Task
from ptaudit.training.fleet.alone import Alone
from ptaudit.training.fleet.context import FleetContext
from ptaudit.training.fleet.memory import lacks_memory
from ptaudit.training.fleet.signals import ModelSignals
from ptaudit.training.fleet.stack import Stack


@dataclass(frozen=True)
class Chunk:
    """Models that are trained at once.

    Attributes:
        models: which ones, with equally many members.
        program: what several are trained as.
    """

    models: tuple[int, ...]
    program: type[Stack] = Stack

    @property
    def name(self) -> str:
        """What they are called: `model 3`, `models 0 to 15`."""
        return f"model {self.models[0]}" if len(self.models) == 1 else f"models {self.models[0]} to {self.models[-1]}"

    def begun(self, context: FleetContext) -> Alone | Stack:
        """With their initial weights."""
        if len(self.models) == 1:
            return Alone(context, self.models[0])
        return self.program(context, self.models, [context.build(context.training_seed(one)) for one in self.models])


def train_chunk(context: FleetContext, chunk: Chunk, task: Task) -> Iterator[tuple[int, ModelSignals]]:
    """Train models, several as one program; where memory runs out, in two halves.

    Args:
        context: what they are trained on and with.
        chunk: which ones, and as what.
        task: advanced by one for every finished model.

    Yields:
        A model and what it says, for each of them.

    Raises:
        PtauditError: a training diverged or failed, or memory does not hold a single model.
    """
    found = _trained(context, chunk, task)
    if found is None:
        half = len(chunk.models) // 2
        yield from train_chunk(context, replace(chunk, models=chunk.models[:half]), task)
        yield from train_chunk(context, replace(chunk, models=chunk.models[half:]), task)
        return
    for model, signals in found.items():
        task.advance()
        yield model, signals


def _trained(context: FleetContext, chunk: Chunk, task: Task) -> dict[int, ModelSignals] | None:
    """What the models say; None where memory does not hold several of them."""
    try:
        return _whole(context, chunk, task)
    except Exception as error:
        if len(chunk.models) == 1 or not lacks_memory(error):
            raise
    if context.device.type == "cuda":
        torch.cuda.empty_cache()
    return None


def _whole(context: FleetContext, chunk: Chunk, task: Task) -> dict[int, ModelSignals]:
    trained = chunk.begun(context)
    seen = []
    for epoch in range(max(context.epochs) + 1):
        if epoch:
            trained.train_epoch(epoch)
        if epoch in context.epochs:
            seen.append(trained.signals(epoch))
            _check_finite(chunk.models, seen[-1][1], epoch)
        task.advance(0, f"{chunk.name}, epoch {epoch} of {max(context.epochs)}")
    outputs, losses = (np.stack(of_one, axis=1) for of_one in zip(*seen))
    return {model: ModelSignals(outputs[i], losses[i], context.included(model)) for i, model in enumerate(chunk.models)}


def _check_finite(models: Sequence[int], losses: NDArray[np.float32], epoch: int) -> None:
    wrong = [model for model, own in zip(models, losses) if not np.isfinite(own).all()]
    if wrong:
        raise TrainingDivergedError(
            f"the loss of reference model {wrong[0]} on a record after epoch {epoch} is not finite",
            remedy="lower train.optimizer.lr",
        )
