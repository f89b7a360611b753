"""Reference models as one compiled program, `torch.compile` over `vmap`: tried, and held against the plain one."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import nn

from ptaudit.errors import in_one_line
from ptaudit.training.fleet.context import FleetContext
from ptaudit.training.fleet.stack import Stack
from ptaudit.training.fleet.stackable import close


class CompiledStack(Stack):
    """A stack whose passes in training are compiled, anew for each size of a batch; what it becomes is the same but for
    the order of sums. The first step takes as long as compiling does.
    """

    def __init__(self, context: FleetContext, models: Sequence[int], modules: Sequence[nn.Module]) -> None:
        super().__init__(context, models, modules)
        self.trained = torch.compile(self.trained, fullgraph=True, dynamic=False)


@dataclass(frozen=True)
class Trial:
    """How a compiled program did.

    Attributes:
        step: median seconds of a step of all its models.
        compiling: seconds that it took to compile.
    """

    step: float
    compiling: float


def trial(context: FleetContext, models: Sequence[int], modules: Sequence[nn.Module], steps: int) -> Trial | str:
    """Compile models to throw away, and take some steps.

    Returns:
        What it took; or why they cannot be compiled, in words.
    """
    plain, compiled = Stack(context, models, modules), CompiledStack(context, models, modules)
    try:
        began = time.perf_counter()
        compiled.backward(*context.batch(compiled.first_batch))
        compiling = time.perf_counter() - began
        plain.backward(*context.batch(plain.first_batch))
        if not all(close([own.grad], [plain.weights[name].grad]) for name, own in compiled.weights.items()):
            return "compiled, its gradients are not what they were"
        if not all(close([own], [plain.buffers[name]]) for name, own in compiled.buffers.items()):
            return "compiled, its buffers are not what they were"
        step = compiled.time_steps(steps)
    except Exception as error:  # a compiler, and what it makes of a user's model, can fail in any way
        return f"it does not compile: {in_one_line(error)}"
    return Trial(step, max(0.0, compiling - step))
