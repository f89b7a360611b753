"""Optimizers and learning-rate schedules of the spec."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from ptaudit.spec.model import OptimizerSpec, ScheduleSpec, TrainSpec

Parameters = Iterable[Tensor]


def _sgd(parameters: Parameters, spec: OptimizerSpec) -> torch.optim.Optimizer:
    return torch.optim.SGD(
        parameters, lr=spec.lr, momentum=spec.momentum, nesterov=spec.nesterov, weight_decay=spec.weight_decay
    )


def _adam(parameters: Parameters, spec: OptimizerSpec) -> torch.optim.Optimizer:
    return torch.optim.Adam(parameters, lr=spec.lr, betas=spec.betas, weight_decay=spec.weight_decay)


def _adamw(parameters: Parameters, spec: OptimizerSpec) -> torch.optim.Optimizer:
    return torch.optim.AdamW(parameters, lr=spec.lr, betas=spec.betas, weight_decay=spec.weight_decay)


OPTIMIZERS: dict[str, Callable[[Parameters, OptimizerSpec], torch.optim.Optimizer]] = {
    "sgd": _sgd,
    "adam": _adam,
    "adamw": _adamw,
}


def make_optimizer(parameters: Parameters, spec: OptimizerSpec) -> torch.optim.Optimizer:
    """The optimizer of the spec over those of the parameters that are trainable."""
    return OPTIMIZERS[spec.name]([p for p in parameters if p.requires_grad], spec)


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
