"""The whole gradient of every record, whatever its layers are: side by side by `torch.func`, or one by one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.func import grad_and_value

from ptaudit.gradients.agreement import agrees
from ptaudit.gradients.autograd import differentiate, filled
from ptaudit.gradients.record_losses import RecordLosses, loss_at, over_records

Parameters = Mapping[str, nn.Parameter]
"""By path in the model."""


@dataclass(frozen=True)
class WholeGradients:
    """What a batch of n records gave.

    Attributes:
        of: gradients (n, ...) of parameters by path; one that was not used has zeros, or none.
        losses: (n,).
    """

    of: dict[str, Tensor]
    losses: Tensor


def side_by_side(losses: RecordLosses, parameters: Parameters, randomness: str = "error") -> WholeGradients:
    """By `vmap(grad)` of the model as a function of its weights; see `over_records`."""
    each = grad_and_value(loss_at(losses.model, losses.loss))
    weights = {path: p.detach() for path, p in parameters.items()}
    return WholeGradients(*over_records(each, weights, losses.inputs, losses.targets, randomness=randomness))


def one_by_one(losses: RecordLosses, parameters: Parameters) -> WholeGradients:
    """By one forward and backward pass for each record: slow, and right for every model."""
    parts: dict[str, list[Tensor]] = {path: [] for path in parameters}
    found = []
    for i in range(len(losses)):
        own = losses.some(slice(i, i + 1))()
        for path, g in differentiate(own, losses.model, parameters).items():
            parts[path].append(filled(g, parameters[path]).detach())
        found.append(own.detach())
    return WholeGradients({path: torch.stack(part) for path, part in parts.items()}, torch.cat(found))


def holds(way: Callable[[], WholeGradients], alone: WholeGradients, allowed: float) -> bool:
    """Whether a way gives the gradients that `one_by_one` gave, but for rounding: a relative error of `allowed`."""

    def given() -> list[Tensor]:
        found = way().of
        return [found[path] if path in found else torch.zeros_like(g) for path, g in alone.of.items()]

    return agrees(given, list(alone.of.values()), allowed)


def trainable(model: nn.Module) -> dict[str, nn.Parameter]:
    """Its trainable parameters by path."""
    return {path: p for path, p in model.named_parameters() if p.requires_grad}
