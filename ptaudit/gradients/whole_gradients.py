"""The whole gradient of every record of a batch, without a rule for its layers: side by side, or one by one."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.func import grad_and_value

from ptaudit.gradients.agreement import agrees
from ptaudit.gradients.autograd import differentiate, filled
from ptaudit.gradients.record_losses import RecordLosses, loss_at, over_records


@dataclass(frozen=True)
class WholeGradients:
    """What a batch of n records gave.

    Attributes:
        of: gradients (n, ...) of the trainable parameters, by name; a parameter that was not used may have none.
        losses: (n,).
    """

    of: dict[str, Tensor]
    losses: Tensor


Way = Callable[[RecordLosses, AbstractContextManager[None]], WholeGradients]
"""(losses of a batch, watch) -> gradients; the watch is entered around a pass over the summed loss."""


def holds(way: Way, losses: RecordLosses, alone: WholeGradients, allowed: float) -> bool:
    """Whether a way gives the gradients that the loop gave, but for rounding: a relative error of `allowed`."""

    def given() -> list[Tensor]:
        found = way(losses, nullcontext()).of
        return [found[name] if name in found else torch.zeros_like(g) for name, g in alone.of.items()]

    return agrees(given, list(alone.of.values()), allowed)


def by_vmap(losses: RecordLosses, watch: AbstractContextManager[None]) -> WholeGradients:
    """`vmap(grad)` of the whole model; dropout is drawn for every record."""
    _watch_once(losses, watch)
    weights = {name: p.detach() for name, p in trainable(losses.model).items()}
    each = grad_and_value(loss_at(losses.model, losses.loss))
    gradients, found = over_records(each, weights, losses.inputs, losses.targets, randomness="different")
    return WholeGradients(gradients, found)


def by_loop(losses: RecordLosses, watch: AbstractContextManager[None]) -> WholeGradients:
    """One forward and backward pass for each record: slow, and right for every model."""
    _watch_once(losses, watch)
    parameters = trainable(losses.model)
    parts: dict[str, list[Tensor]] = {name: [] for name in parameters}
    found = []
    for i in range(len(losses)):
        own = losses.some(slice(i, i + 1))()
        for name, g in differentiate(own, losses.model, parameters).items():
            parts[name].append(filled(g, parameters[name]))
        found.append(own.detach())
    return WholeGradients({name: torch.stack(part) for name, part in parts.items()}, torch.cat(found))


def trainable(model: nn.Module) -> dict[str, nn.Parameter]:
    """Its trainable parameters by name."""
    return {name: p for name, p in model.named_parameters() if p.requires_grad}


def _watch_once(losses: RecordLosses, watch: AbstractContextManager[None]) -> None:
    """An ordinary pass for who watches, without a trace in weights, gradients or random numbers."""
    if isinstance(watch, nullcontext):
        return
    device = losses.targets.device
    with torch.random.fork_rng([device] if device.type == "cuda" else []), watch:
        torch.autograd.backward(losses().sum())
    losses.model.zero_grad(set_to_none=True)
