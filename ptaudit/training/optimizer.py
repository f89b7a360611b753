"""Optimizers and learning-rate schedules of the spec."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

if TYPE_CHECKING:
    from ptaudit.spec.model import OptimizerSpec, ScheduleSpec, TrainSpec


def _sgd(spec: OptimizerSpec) -> dict[str, Any]:
    return {"momentum": spec.momentum, "nesterov": spec.nesterov}


def _adam(spec: OptimizerSpec) -> dict[str, Any]:
    return {"betas": spec.betas}


OPTIMIZERS: dict[str, tuple[type[torch.optim.Optimizer], Callable[[OptimizerSpec], dict[str, Any]]]] = {
    "sgd": (torch.optim.SGD, _sgd),
    "adam": (torch.optim.Adam, _adam),
    "adamw": (torch.optim.AdamW, _adam),
}


def make_optimizer(parameters: Iterable[Tensor], spec: OptimizerSpec, **how: Any) -> torch.optim.Optimizer:
    """The optimizer of the spec over those of the parameters that are trainable.

    Args:
        parameters: of the model.
        spec: the settings.
        how: how PyTorch computes the step, `fused=True` in one pass over the numbers; no setting of the optimizer.
    """
    kind, own = OPTIMIZERS[spec.name]
    trainable = [p for p in parameters if p.requires_grad]
    return kind(trainable, lr=spec.lr, weight_decay=spec.weight_decay, **own(spec), **how)  # type: ignore[call-arg]


def set_rate(optimizer: torch.optim.Optimizer, train: TrainSpec, epoch: int) -> None:
    """The learning rate of an epoch; 1 for the first epoch."""
    factor = rate_factor(train.schedule, epoch, train.epochs)
    for group in optimizer.param_groups:
        group["lr"] = train.optimizer.lr * factor


def _cosine(passed: int, total: int, schedule: ScheduleSpec) -> float:
    return 0.5 * (1 + math.cos(math.pi * passed / total))


def _step(passed: int, total: int, schedule: ScheduleSpec) -> float:
    return float(schedule.gamma ** (passed // schedule.step_size))


def _exponential(passed: int, total: int, schedule: ScheduleSpec) -> float:
    return float(schedule.gamma**passed)


SCHEDULES: dict[str, Callable[[int, int, ScheduleSpec], float]] = {
    "constant": lambda passed, total, schedule: 1.0,
    "cosine": _cosine,
    "step": _step,
    "exponential": _exponential,
}


def rate_factor(schedule: ScheduleSpec, epoch: int, epochs: int) -> float:
    """What the learning rate is multiplied by in an epoch. A function of the epoch alone, so resuming needs no state.

    The warm-up rises linearly: epoch e of w warm-up epochs has the factor e / (w + 1). The schedule starts after it.

    Args:
        schedule: the schedule of the spec.
        epoch: 1 for the first epoch.
        epochs: how many epochs are trained.
    """
    warmup = schedule.warmup_epochs
    if epoch <= warmup:
        return epoch / (warmup + 1)
    return SCHEDULES[schedule.name](epoch - 1 - warmup, epochs - warmup, schedule)
