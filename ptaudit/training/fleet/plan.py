"""How many reference models are trained as one program: what memory holds, and what is fast.

On a CPU a rule decides, so that the same spec gives the same tables: sums of many models have another order than those
of one, and what is fastest differs from run to run. On other devices first steps are timed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch.nn.modules.conv import _ConvNd

from ptaudit.training.fleet.alone import Alone
from ptaudit.training.fleet.context import FleetContext
from ptaudit.training.fleet.memory import free_memory, lacks_memory, model_bytes
from ptaudit.training.fleet.stack import Stack
from ptaudit.training.fleet.stackable import why_not_stacked

_SHARE = 0.5
"""Of the free memory, for models that train as one program: others want some, and an estimate is one."""
_STEPS = 3
AT_ONCE = 16
"""Models at once on a CPU: more gain nothing there (benchmarks/fleet.py)."""


@dataclass(frozen=True)
class Plan:
    """How reference models are trained.

    Attributes:
        at_once: how many as one program, at most; 1 for one after the other.
        reason: why, in words.
        measured: what first steps took, where that decided.
    """

    at_once: int
    reason: str
    measured: str = ""

    def __str__(self) -> str:
        how = "one after the other" if self.at_once == 1 else f"up to {self.at_once} as one program"
        return f"{how}: {self.reason}"


def make_plan(context: FleetContext, models: Sequence[int], at_once: int | None = None) -> Plan:
    """Decide it for models with equally many members.

    Args:
        context: what they are trained on and with.
        models: which ones.
        at_once: how many at most, where the user says so; None to decide it.
    """
    if len(models) == 1:
        return Plan(1, "there is one model")
    if at_once == 1:
        return Plan(1, "as fleet.at_once says")
    if why := why_not_stacked(context):
        return Plan(1, why)
    if at_once is not None:
        return Plan(min(at_once, len(models)), "as fleet.at_once says")
    if context.device.type == "cpu" and _convolves(context, models[0]):
        return Plan(1, "convolutions of many models at once are no faster on a CPU")
    most = min(len(models), int(_SHARE * free_memory(context.device) / model_bytes(context)))
    if most < 2:
        return Plan(1, "memory does not hold two models and their batches")
    if context.device.type != "cpu":
        return fastest(context, models, most)
    return Plan(min(most, AT_ONCE), "small steps have a fixed price, which models at once share")


def _convolves(context: FleetContext, model: int) -> bool:
    return any(isinstance(module, _ConvNd) for module in context.build(context.training_seed(model)).modules())


def fastest(context: FleetContext, models: Sequence[int], most: int) -> Plan:
    """Of all that memory holds, a half, a quarter and one, by a few steps of models that are thrown away."""
    seconds = {1: Alone(context, models[0]).time_steps(_STEPS)}
    for at_once in sorted({most, most // 2, most // 4} - {0, 1}):
        try:
            seconds[at_once] = _stack(context, models[:at_once]).time_steps(_STEPS) / at_once
        except Exception as error:
            if not lacks_memory(error):
                raise
    best = min(seconds, key=lambda at_once: seconds[at_once])
    told = ", ".join(f"{1000 * seconds[at_once]:.2f} ms with {at_once} at once" for at_once in sorted(seconds))
    return Plan(best, "the fastest here", f"a step of a model takes {told}")


def _stack(context: FleetContext, models: Sequence[int]) -> Stack:
    """To throw away: all start from the weights of the first."""
    return Stack(context, models, [context.build(context.training_seed(models[0]))] * len(models))
