"""How many reference models are trained as one program: what memory holds, and what is fast.

On a CPU a rule decides, so that the same spec gives the same tables: sums of many models have another order than those
of one, and what is fastest differs from run to run. On other devices first steps are timed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from torch.nn.modules.conv import _ConvNd

from ptaudit.training.fleet.alone import Alone
from ptaudit.training.fleet.chunk import Chunk
from ptaudit.training.fleet.compiled import CompiledStack, trial
from ptaudit.training.fleet.context import FleetContext
from ptaudit.training.fleet.memory import free_memory, lacks_memory, model_bytes
from ptaudit.training.fleet.stack import Stack
from ptaudit.training.fleet.stackable import why_not_stacked
from ptaudit.training.sampling import steps_per_epoch

_SHARE = 0.5
"""Of the free memory, for models that train as one program: others want some, and an estimate is one."""
_STEPS = 3
WORTH_COMPILING = 600.0
"""Seconds that all models must take before it is tried whether a compiled program is faster: to compile takes tens."""
AT_ONCE = 16
"""Models at once on a CPU: more gain nothing there (benchmarks/fleet.py)."""


@dataclass(frozen=True)
class Plan:
    """How reference models are trained.

    Attributes:
        at_once: how many as one program, at most; 1 for one after the other.
        reason: why, in words.
        measured: what first steps took, where that decided.
        program: what several are trained as.
    """

    at_once: int
    reason: str
    measured: str = ""
    program: type[Stack] = Stack

    def __str__(self) -> str:
        kind = "one compiled program" if self.program is CompiledStack else "one program"
        how = "one after the other" if self.at_once == 1 else f"up to {self.at_once} as {kind}"
        return f"{how}: {self.reason}"

    def chunks(self, models: Sequence[int]) -> list[Chunk]:
        """The models in parts that are trained at once."""
        starts = range(0, len(models), self.at_once)
        return [Chunk(tuple(models[start : start + self.at_once]), self.program) for start in starts]


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
    plan = Plan(best, "the fastest here", f"a step of a model takes {told}")
    return _compiled_if_faster(context, models, plan, seconds[best])


def _compiled_if_faster(context: FleetContext, models: Sequence[int], plan: Plan, step: float) -> Plan:
    """The plan, with a compiled program where that is faster, though each of its programs is compiled anew.

    Args:
        context: what they are trained on and with.
        models: which ones.
        plan: the fastest without.
        step: seconds that a step of a model takes by it.
    """
    own, steps = models[: plan.at_once], context.train.epochs * _steps(context, models[0])
    if plan.at_once == 1 or len(models) * steps * step < WORTH_COMPILING:
        return plan
    found = trial(context, own, [context.build(context.training_seed(own[0]))] * len(own), _STEPS)
    if isinstance(found, str):
        return replace(plan, measured=f"{plan.measured}; {found}")
    told = f"{1000 * found.step / len(own):.2f} ms compiled, for which {found.compiling:.0f} s are needed"
    faster = found.compiling + steps * found.step < len(own) * steps * step
    return replace(plan, measured=f"{plan.measured}, {told}", program=CompiledStack if faster else plan.program)


def _steps(context: FleetContext, model: int) -> int:
    return steps_per_epoch(context.train, len(context.split(model).members))


def _stack(context: FleetContext, models: Sequence[int]) -> Stack:
    """To throw away: all start from the weights of the first."""
    return Stack(context, models, [context.build(context.training_seed(models[0]))] * len(models))
