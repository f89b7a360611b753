"""Statistics of what BatchNorm layers are given by a batch: an adversary may be granted those of the true one."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ptaudit.attacks.inversion.messages import Granted, Statistics
from ptaudit.model_input import Inputs, call, leaves, mapped

Norm = nn.modules.batchnorm._BatchNorm


def has_batch_norm(model: nn.Module) -> bool:
    """Whether there is a layer whose statistics could be shared."""
    return any(isinstance(module, Norm) for module in model.modules())


def statistics(granted: Granted, batches: Inputs) -> Statistics:
    """Mean and biased variance of each channel that each BatchNorm layer is given by batches `(g, m, ...)`, `(g, C)`.

    As in the passes of the audit, layers before it are in evaluation mode.
    """
    g, m = leaves(batches)[0].shape[:2]
    found: dict[str, tuple[Tensor, Tensor]] = {}

    def keep(path: str, given: Tensor) -> None:
        values = given.view(g, m, *given.shape[1:]).transpose(1, 2).flatten(2)  # (g, C, m * positions)
        if path not in found:
            found[path] = values.mean(2), values.var(2, correction=0)

    hooks = [
        module.register_forward_pre_hook(lambda _, args, path=path: keep(path, args[0]))
        for path, module in granted.model.named_modules()
        if isinstance(module, Norm)
    ]
    try:
        call(granted.model, mapped(lambda leaf: leaf.flatten(0, 1), batches))
    finally:
        for hook in hooks:
            hook.remove()
    return found


def mismatch(granted: Granted, batches: Tensor, target: Tensor) -> Tensor:
    """How far the statistics of dummy batches are from those that are known, `(g, m, ...)` -> `(g,)`.

    Sum over layers of the distances of means and of variances (DeepInversion: Yin et al., arXiv 1912.08795, eq. 4),
    each relative to what is known.

    Args:
        granted: with `batch_norm`.
        batches: dummy records.
        target: place of what is known among the targets and rounds, flattened, `(g,)`.
    """
    assert granted.batch_norm is not None
    total = batches.new_zeros(len(batches))
    for path, mine in statistics(granted, batches).items():
        for own, known in zip(mine, granted.batch_norm[path]):
            true = known.flatten(0, 1).to(own)[target]
            total = total + (own - true).norm(dim=1) / true.norm(dim=1).clamp_min(torch.finfo(own.dtype).tiny)
    return total
