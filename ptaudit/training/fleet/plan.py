"""How many reference models are trained as one program: what memory holds, and what is fastest."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from ptaudit.archives import installed_memory
from ptaudit.training.fleet.alone import Alone
from ptaudit.training.fleet.context import FleetContext
from ptaudit.training.fleet.stack import Stack
from ptaudit.training.fleet.stackable import why_not_stacked

_SHARE = 0.5
"""Of the free memory, for models that train as one program: others want some, and an estimate is one."""
_STEPS = 3
_SLOTS = {"adam": 2, "adamw": 2}
"""Numbers that an optimizer remembers of every weight."""


@dataclass(frozen=True)
class Plan:
    """How reference models are trained.

    Attributes:
        at_once: how many as one program, at most; 1 for one after the other.
        reason: why, in words.
    """

    at_once: int
    reason: str

    def __str__(self) -> str:
        how = "one after the other" if self.at_once == 1 else f"up to {self.at_once} as one program"
        return f"{how}: {self.reason}"


def make_plan(context: FleetContext, models: Sequence[int], at_once: int | None = None) -> Plan:
    """Decide it for models with equally many members.

    Args:
        context: what they are trained on and with.
        models: which ones.
        at_once: how many at most, where the user says so; None for what is fastest.
    """
    if len(models) == 1:
        return Plan(1, "there is one model")
    if at_once == 1:
        return Plan(1, "as fleet.at_once says")
    if why := why_not_stacked(context):
        return Plan(1, why)
    if at_once is not None:
        return Plan(min(at_once, len(models)), "as fleet.at_once says")
    most = min(len(models), int(_SHARE * free_memory(context.device) / model_bytes(context)))
    if most < 2:
        return Plan(1, "memory does not hold two models and their batches")
    return _fastest(context, models, most)


def _fastest(context: FleetContext, models: Sequence[int], most: int) -> Plan:
    """Of all that memory holds, a half, a quarter and one, by a few steps of models that are thrown away."""
    seconds = {1: Alone(context, models[0]).time_steps(_STEPS)}
    module = context.build(context.training_seed(models[0]))
    for at_once in {most, most // 2, most // 4} - {0, 1}:
        stack = Stack(context, models[:at_once], [module] * at_once)
        seconds[at_once] = stack.time_steps(_STEPS) / at_once
    best = min(seconds, key=lambda at_once: seconds[at_once])
    told = ", ".join(f"{1000 * seconds[at_once]:.2f} ms {at_once} at once" for at_once in sorted(seconds))
    return Plan(best, f"a step of a model takes {told}")


def model_bytes(context: FleetContext) -> int:
    """Peak memory per model of a training step of models as one program, estimated from two of them.

    Weights, their gradients and what the optimizer remembers; what the forward pass keeps for the backward pass; and
    twice the largest of that, for what the backward pass makes on its way.
    """
    module = context.build(context.training_seed(0))
    stack = Stack(context, (0, 2), [module, module])
    kept: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    weights = sum(weight.nbytes for weight in stack.weights.values())
    inputs, targets = context.batch(stack.first_batch)
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        stack.backward(inputs, targets)
    spec = context.train.optimizer
    slots = _SLOTS.get(spec.name, int(spec.momentum > 0))
    return int((2 + slots) * weights + sum(kept.values()) + 2 * max(kept.values(), default=0)) // 2


def free_memory(device: torch.device) -> int:
    """Bytes that are free on a device, or in this machine."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    try:
        lines = dict(line.split(":", 1) for line in Path("/proc/meminfo").read_text().splitlines())
        return 1024 * int(lines["MemAvailable"].split()[0])
    except (OSError, KeyError, ValueError):  # no Linux
        return installed_memory() // 2
