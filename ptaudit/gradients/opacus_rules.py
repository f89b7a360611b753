"""The whole gradient of every record of a batch, for training that clips them: by Opacus' rules, or without."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, ExitStack, nullcontext
from functools import partial
from typing import Any

import torch
from opacus.grad_sample import GradSampleModule
from torch import Tensor, nn

from ptaudit.errors import ModelError
from ptaudit.gradients.agreement import rounding, tolerance
from ptaudit.gradients.autograd import differentiate, filled
from ptaudit.gradients.frozen_state import frozen_state, grads_aside, jittered
from ptaudit.gradients.record_losses import RecordLosses
from ptaudit.gradients.whole_gradients import WholeGradients, holds, one_by_one, side_by_side, trainable

_SAMPLERS: Mapping[type[nn.Module], Callable[[nn.Module, list[Tensor], Tensor], Mapping[nn.Parameter, Tensor]]] = (
    GradSampleModule.GRAD_SAMPLERS
)
_SPECIAL = ("padding_idx", "max_norm", "scale_grad_by_freq")  # of embeddings; Opacus' rule knows nothing of them
CHECK_RECORDS = 3


Way = Callable[[RecordLosses, AbstractContextManager[None]], WholeGradients]
"""(losses of a batch, watch) -> gradients; the watch is entered around a pass over the summed loss."""


def choose_way(losses: RecordLosses) -> Way:
    """The fastest way that agrees with one-record autograd on a few records; the model is left as it was.

    Raises:
        ModelError: the model mixes its records, so that none has a gradient of its own.
    """
    few, parameters = losses.some(slice(CHECK_RECORDS)), trainable(losses.model)
    allowed = tolerance((), losses.targets.device)
    with ExitStack() as stack:
        stack.enter_context(frozen_state(few.model, few.targets.device))
        stack.enter_context(grads_aside(few.model.parameters()))
        # A little beside the weights: a branch that a zero switches off would show nothing.
        stack.enter_context(jittered(few.model.parameters()))
        alone = one_by_one(few, parameters)
        if not all(bool(g.isfinite().all()) for g in alone.of.values()):
            return by_loop  # nothing can be shown; training is about to say that it diverges
        batch = differentiate(few(), few.model, parameters)
        gaps = torch.stack([(alone.of[path].sum(0) - filled(g, parameters[path])).norm() for path, g in batch.items()])
        if not bool((gaps <= rounding(torch.stack([g.norm() for g in alone.of.values()]), allowed)).all()):
            raise ModelError(
                "the model mixes the records of a batch: none has a gradient of its own to clip",
                where="train.defense",
                remedy="use GroupNorm or LayerNorm instead of statistics over the batch",
            )
        faster = (way for way in (by_samplers, by_vmap) if holds(partial(way, few, nullcontext()), alone, allowed))
        return next(faster, by_loop)


def by_vmap(losses: RecordLosses, watch: AbstractContextManager[None]) -> WholeGradients:
    """All records side by side; dropout is drawn for every record."""
    _watch_once(losses, watch)
    return side_by_side(losses, trainable(losses.model), "different")


def by_loop(losses: RecordLosses, watch: AbstractContextManager[None]) -> WholeGradients:
    """One record after the other."""
    _watch_once(losses, watch)
    return one_by_one(losses, trainable(losses.model))


def _watch_once(losses: RecordLosses, watch: AbstractContextManager[None]) -> None:
    """An ordinary pass for who watches, without a trace in weights, gradients or random numbers."""
    if isinstance(watch, nullcontext):
        return
    device = losses.targets.device
    with torch.random.fork_rng([device] if device.type == "cuda" else []), watch:
        torch.autograd.backward(losses().sum())
    losses.model.zero_grad(set_to_none=True)


def by_samplers(losses: RecordLosses, watch: AbstractContextManager[None]) -> WholeGradients:
    """Opacus' rules for single layers, on tensor hooks: unlike its module hooks these live with in-place operations.

    Raises:
        ModelError: a layer has no rule, or the gradients do not add up to that of the batch.
    """
    sums: dict[nn.Parameter, Tensor] = {}
    model = losses.model
    with ExitStack() as stack:
        stack.enter_context(watch)
        for name, module in model.named_modules():
            if any(p.requires_grad for p in module.parameters(recurse=False)):
                _check_sampler(module, name)
                handle = module.register_forward_hook(partial(_hook, sums), with_kwargs=True)
                stack.callback(handle.remove)
        found = losses()
        torch.autograd.backward(found.sum())
    names = {parameter: name for name, parameter in trainable(model).items()}
    _check_sum(sums, names, tolerance((), losses.targets.device))
    model.zero_grad(set_to_none=True)
    return WholeGradients({names[p]: g for p, g in sums.items()}, found.detach())


def _hook(
    sums: dict[nn.Parameter, Tensor], module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any
) -> Any:
    activations = [x.detach() for x in (*args, *kwargs.values()) if isinstance(x, Tensor)]
    # An in-place operation on a view rewrites the history of its base and would lose the hook.
    hooked: Any = output.clone() if output._base is not None else output

    def arrive(gradient: Tensor) -> None:
        with torch.no_grad():
            for parameter, own in _SAMPLERS[type(module)](module, activations, gradient.detach()).items():
                sums[parameter] = sums[parameter] + own if parameter in sums else own

    if hooked.requires_grad:
        hooked.register_hook(arrive)
    return hooked


def _check_sum(sums: Mapping[nn.Parameter, Tensor], names: Mapping[nn.Parameter, str], allowed: float) -> None:
    """Every batch is looked at: what no rule sees would be neither clipped nor covered by the noise."""
    used = {p: filled(p.grad, p) for p in names if p.grad is not None or p in sums}
    if not used:
        return
    gaps = torch.stack([(whole - sums[p].sum(0) if p in sums else whole).norm() for p, whole in used.items()])
    sizes = torch.stack([sums[p].norm() if p in sums else p.new_zeros(()) for p in used])
    wrong = gaps > rounding(sizes, 10 * allowed)
    if bool(wrong.any()):  # never where a number is not finite: that is divergence, and told as such
        name = next(names[p] for p, bad in zip(used, wrong.tolist()) if bad)
        raise ModelError(
            "the gradients of the records do not add up to that of their batch",
            where=name,
            remedy="use the parameter through its own module, in the same way in training and evaluation mode",
        )


def _check_sampler(module: nn.Module, name: str) -> None:
    values = [getattr(module, key, None) for key in _SPECIAL]
    if type(module) not in _SAMPLERS or any(value is not None and value is not False for value in values):
        raise ModelError(f"no rule for {type(module).__name__}", where=name)
