"""Linear decoders: ridge regression in closed form, all penalties from one decomposition."""

from __future__ import annotations

import torch
from torch import Tensor

from ptaudit.attacks.content.family import Family, Task, errors

PENALTIES = (100.0, 30.0, 10.0, 3.0, 1.0, 0.3, 0.03, 1e-3, 1e-5)
"""Factor of the squared weights beside the mean squared error, in units of the mean variance along an axis."""

PROJECTED = 64
"""Penalties are compared by so many random projections of the error: they keep its size (Johnson, Lindenstrauss)."""


def ridge(task: Task) -> Tensor:
    """See `family.Decoder`. With fewer rows than features the inner products of the rows are decomposed instead."""
    known, unseen = task.known, task.unseen
    n, d = known.shape
    wide = d > n
    values, axes = torch.linalg.eigh((known @ known.T if wide else known.T @ known) / n)
    values = values.clamp_min(0.0)
    seen = axes if wide else known @ axes / n
    met = unseen @ (known.T @ axes) / n if wide else unseen @ axes
    few, short = _shorter(task.targets, task.truth, task.seed)
    mean, tried = few.mean(1, keepdim=True), met[: task.truth.shape[1]]
    aim = seen.T @ (few - mean)
    factors = [1.0 / (values + penalty * values.mean().clamp_min(1e-30)) for penalty in PENALTIES]
    told = [errors((tried * factor) @ aim + mean, short) for factor in factors]
    best = [min(range(len(factors)), key=lambda i: told[i][version]) for version in range(len(few))]
    middle = task.targets.mean(1, keepdim=True)
    return torch.stack([
        (met * factors[i]) @ (seen.T @ (target - mean)) + mean for i, target, mean in zip(best, task.targets, middle)
    ])  # fmt: skip


def _shorter(targets: Tensor, truth: Tensor, seed: int) -> tuple[Tensor, Tensor]:
    width = targets.shape[2]
    if width <= 2 * PROJECTED:
        return targets, truth
    generator = torch.Generator().manual_seed(seed)
    axes = (torch.randn(width, PROJECTED, generator=generator) / PROJECTED**0.5).to(targets)
    return targets @ axes, truth @ axes


FAMILY = Family(ridge)
