"""Whether reference models can be trained as one program: tried on two of them, held against each alone."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ptaudit.errors import in_one_line
from ptaudit.model_input import as_real
from ptaudit.spec.defenses import UNDEFENDED
from ptaudit.training.fleet.context import FleetContext
from ptaudit.training.fleet.stack import Stack
from ptaudit.training.optimizer import make_optimizer
from ptaudit.training.seeding import PROBE, derived_seed, seeded
from ptaudit.training.steps import Batch
from ptaudit.training.steps.passes import Passes

_TOLERANCE = 1e-2
"""Of a gradient, by norm: far above what other orders of sums make, on a GPU too, and far below another gradient."""
_SIGNS = {
    "random operation": "the model draws random numbers in training (dropout), which one program would draw otherwise",
    "data-dependent control flow": "what the model does depends on its numbers (if, while)",
    ".item() on a Tensor": "what the model does depends on its numbers (item)",
    "Batching rule not implemented": "an operation of the model has no rule for several models",
}
"""What `vmap` says, in words for users."""


def why_not_stacked(context: FleetContext) -> str:
    """Why the models must be trained one after the other; empty if they need not."""
    return _of_settings(context) or _of_model(context)


def _of_settings(context: FleetContext) -> str:
    train = context.train
    if (train.defense or UNDEFENDED) is not UNDEFENDED:
        return "a training with a defense takes steps of its own"
    if train.sam is not None:
        return "sharpness-aware minimisation takes steps of its own"
    if train.precision != "float32":
        return f"{train.precision} is for one model at a time"
    return ""


def _of_model(context: FleetContext) -> str:
    models = (0, 2)  # of two pairs: equally many members
    modules = [context.build(context.training_seed(model)) for model in models]
    for name, layer in modules[0].named_modules():
        if getattr(layer, "sparse", False):
            return f"layer {name} has sparse gradients"
    with seeded(derived_seed(context.seed, PROBE), context.device):
        try:
            stack = Stack(context, models, modules)
            stack.backward(*context.batch(stack.first_batch))
        except Exception as error:  # what has no batching rule can fail in any way
            known = (words for sign, words in _SIGNS.items() if sign in str(error))
            return next(known, f"the model does not run as one program: {in_one_line(error)}")
        for place, module in enumerate(modules):
            _backward_alone(context, module, stack.first_batch[place])
            if name := _different(stack, place, module):
                return f"as one program {name} is not what it is for each model alone"
    return ""


def _backward_alone(context: FleetContext, module: nn.Module, index: NDArray[np.int64]) -> None:
    optimizer = make_optimizer(module.parameters(), context.train.optimizer)
    passes = Passes(module.train(), context.loss, context.train, optimizer, context.device)
    passes.backward(Batch(index, *context.batch(index)), 1)


def _different(stack: Stack, place: int, module: nn.Module) -> str:
    """What a pass has left otherwise in a stack than in the same model alone; empty where nothing is."""
    grads = {name: stack.weights[name].grad for name, _ in module.named_parameters()}
    stacked = [None if grad is None else grad[place] for grad in grads.values()]
    alone = [parameter.grad for parameter in module.parameters()]
    if [grad is None for grad in stacked] != [grad is None for grad in alone] or not close(stacked, alone):
        return "the gradient"
    buffers = dict(module.named_buffers())
    moved = (name for name, buffer in buffers.items() if not close([stack.buffers[name][place]], [buffer]))
    return next((f"buffer {name}" for name in moved), "")


def close(some: Sequence[Tensor | None], others: Sequence[Tensor | None]) -> bool:
    """Whether tensors are the same, by the norm of all together."""
    one, other = (
        torch.cat([torch.zeros(1), *(as_real(t.detach()).flatten().double().cpu() for t in ts if t is not None)])
        for ts in (some, others)
    )
    return bool((one - other).norm() <= _TOLERANCE * other.norm())
