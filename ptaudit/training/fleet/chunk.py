"""Trains a few reference models: the unit of work, which shares nothing with others."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

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


def train_chunk(context: FleetContext, models: Sequence[int], task: Task) -> Iterator[tuple[int, ModelSignals]]:
    """Train models with equally many members, several as one program; where memory runs out, in two halves.

    Args:
        context: what they are trained on and with.
        models: which ones.
        task: advanced by one for every finished model.

    Yields:
        A model and what it says, for each of them.

    Raises:
        PtauditError: a training diverged or failed, or memory does not hold a single model.
    """
    found = _trained(context, models, task)
    if found is None:
        half = len(models) // 2
        yield from train_chunk(context, models[:half], task)
        yield from train_chunk(context, models[half:], task)
        return
    for model, signals in found.items():
        task.advance()
        yield model, signals


def _trained(context: FleetContext, models: Sequence[int], task: Task) -> dict[int, ModelSignals] | None:
    """What the models say; None where memory does not hold several of them."""
    try:
        return _whole(context, models, task)
    except Exception as error:
        if len(models) == 1 or not lacks_memory(error):
            raise
    if context.device.type == "cuda":
        torch.cuda.empty_cache()
    return None


def _whole(context: FleetContext, models: Sequence[int], task: Task) -> dict[int, ModelSignals]:
    trained = _begun(context, models)
    seen = []
    for epoch in range(max(context.epochs) + 1):
        if epoch:
            trained.train_epoch(epoch)
        if epoch in context.epochs:
            seen.append(trained.signals(epoch))
            _check_finite(models, seen[-1][1], epoch)
        task.advance(0, f"{named(models)}, epoch {epoch} of {max(context.epochs)}")
    outputs, losses = (np.stack(of_one, axis=1) for of_one in zip(*seen))
    return {model: ModelSignals(outputs[i], losses[i], context.included(model)) for i, model in enumerate(models)}


def _check_finite(models: Sequence[int], losses: NDArray[np.float32], epoch: int) -> None:
    wrong = [model for model, own in zip(models, losses) if not np.isfinite(own).all()]
    if wrong:
        raise TrainingDivergedError(
            f"the loss of reference model {wrong[0]} on a record after epoch {epoch} is not finite",
            remedy="lower train.optimizer.lr",
        )


def _begun(context: FleetContext, models: Sequence[int]) -> Alone | Stack:
    if len(models) == 1:
        return Alone(context, models[0])
    return Stack(context, models, [context.build(context.training_seed(model)) for model in models])


def named(models: Sequence[int]) -> str:
    """What models are called: `model 3`, `models 0 to 15`."""
    return f"model {models[0]}" if len(models) == 1 else f"models {models[0]} to {models[-1]}"
