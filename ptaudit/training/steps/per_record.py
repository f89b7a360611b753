"""The gradient of every record of a batch, for training that clips them one by one."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from opacus.grad_sample import GradSampleModule
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap

from ptaudit.errors import ModelError
from ptaudit.training.batch import Inputs, batched, call, mapped, rows
from ptaudit.training.loss import PerRecordLoss

_SAMPLERS: Mapping[type[nn.Module], Callable[[nn.Module, list[Tensor], Tensor], Mapping[nn.Parameter, Tensor]]] = (
    GradSampleModule.GRAD_SAMPLERS
)
_SPECIAL = ("padding_idx", "max_norm", "scale_grad_by_freq")  # of embeddings; Opacus' rule knows nothing of them
TRIAL_RECORDS = 3
_JITTER = 0.1
_TOLERANCE = {"cpu": 1e-3, "cuda": 1e-2}  # rounding; CUDA may use TF32


@dataclass(frozen=True)
class Gradients:
    """What a batch of n records gave.

    Attributes:
        of: gradients (n, ...) of the trainable parameters, by name; a parameter that was not used has none.
        losses: (n,).
    """

    of: dict[str, Tensor]
    losses: Tensor


Way = Callable[[nn.Module, PerRecordLoss, Inputs, Tensor, AbstractContextManager[None]], Gradients]
"""(model, loss, inputs, targets, watch) -> gradients; the watch is entered around a pass over the summed loss."""


def choose_way(model: nn.Module, loss: PerRecordLoss, inputs: Inputs, targets: Tensor) -> Way:
    """The fastest way that agrees with one-record autograd on a few records; the model is left as it was.

    Raises:
        ModelError: the model mixes its records, so that none has a gradient of its own.
    """
    few = rows(inputs, slice(TRIAL_RECORDS)), targets[:TRIAL_RECORDS]
    with _beside(model, targets.device):
        alone = one_by_one(model, loss, *few).of
        if not all(bool(g.isfinite().all()) for g in alone.values()):
            return one_by_one_watched  # nothing can be shown; training is about to say that it diverges
        allowed = _allowed(alone, _TOLERANCE[targets.device.type])
        together = _batch_gradients(model, loss, *few)
        if not all(float((alone[name].sum(0) - whole).norm()) <= allowed[name] for name, whole in together.items()):
            raise ModelError(
                "the model mixes the records of a batch: none has a gradient of its own to clip",
                where="train.defense",
                remedy="use GroupNorm or LayerNorm instead of statistics over the batch",
            )
        for way in (by_samplers, by_vmap):
            try:
                found = way(model, loss, *few, nullcontext()).of
            except torch.OutOfMemoryError:
                raise
            except Exception:  # whatever the operation at hand raises: the next way is slower and more general
                continue
            if all(float((found.get(name, g.new_zeros(1)) - g).norm()) <= allowed[name] for name, g in alone.items()):
                return way
    return one_by_one_watched


def by_samplers(
    model: nn.Module, loss: PerRecordLoss, inputs: Inputs, targets: Tensor, watch: AbstractContextManager[None]
) -> Gradients:
    """Opacus' rules for single layers, on tensor hooks: unlike its module hooks these live with in-place operations.

    Raises:
        ModelError: a layer has no rule, or the gradients do not add up to that of the batch.
    """
    sums: dict[nn.Parameter, Tensor] = {}
    with ExitStack() as stack:
        stack.enter_context(watch)
        for name, module in model.named_modules():
            if any(p.requires_grad for p in module.parameters(recurse=False)):
                _check_sampler(module, name)
                handle = module.register_forward_hook(partial(_tap, sums), with_kwargs=True)
                stack.callback(handle.remove)
        losses = loss(call(model, inputs), targets)
        torch.autograd.backward(losses.sum())
    names = {parameter: name for name, parameter in model.named_parameters() if parameter.requires_grad}
    _check_sum(sums, names, _TOLERANCE[targets.device.type])
    model.zero_grad(set_to_none=True)
    return Gradients({names[p]: g for p, g in sums.items()}, losses.detach())


def by_vmap(
    model: nn.Module, loss: PerRecordLoss, inputs: Inputs, targets: Tensor, watch: AbstractContextManager[None]
) -> Gradients:
    """`vmap(grad)` of the whole model; dropout is drawn for every record."""

    def one(parameters: dict[str, Tensor], x: Inputs, y: Tensor) -> tuple[Tensor, Tensor]:
        functional = _Functional(model, parameters)
        losses = loss(call(functional, mapped(lambda leaf: leaf.unsqueeze(0), x)), y.unsqueeze(0))
        return losses.sum(), losses.squeeze(0)

    _watch_once(model, loss, inputs, targets, watch)
    parameters = {name: p.detach() for name, p in model.named_parameters() if p.requires_grad}
    with torch.no_grad(), batched():
        each = vmap(grad(one, has_aux=True), in_dims=(None, 0, 0), randomness="different")
        gradients, losses = each(parameters, inputs, targets)
    return Gradients(gradients, losses)


def one_by_one_watched(
    model: nn.Module, loss: PerRecordLoss, inputs: Inputs, targets: Tensor, watch: AbstractContextManager[None]
) -> Gradients:
    """`one_by_one`, with a pass over the batch where somebody watches."""
    _watch_once(model, loss, inputs, targets, watch)
    return one_by_one(model, loss, inputs, targets)


def one_by_one(model: nn.Module, loss: PerRecordLoss, inputs: Inputs, targets: Tensor) -> Gradients:
    """One forward and backward pass for each record: slow, and right for every model."""
    parameters = {name: p for name, p in model.named_parameters() if p.requires_grad}
    parts: dict[str, list[Tensor]] = {name: [] for name in parameters}
    losses = []
    for i in range(len(targets)):
        own = loss(call(model, rows(inputs, slice(i, i + 1))), targets[i : i + 1])
        found = torch.autograd.grad(own.sum(), list(parameters.values()), allow_unused=True)
        for (name, parameter), g in zip(parameters.items(), found):
            parts[name].append(_dense(g, parameter))
        losses.append(own.detach())
    return Gradients({name: torch.stack(part) for name, part in parts.items()}, torch.cat(losses))


class _Functional(nn.Module):
    """The model with other parameters, called as the model is."""

    def __init__(self, model: nn.Module, parameters: dict[str, Tensor]) -> None:
        super().__init__()
        self._target = (model, parameters)  # a tuple, so that neither is registered

    def forward(self, *args: Tensor, **kwargs: Tensor) -> Any:
        return functional_call(*self._target, args, kwargs)


def _tap(
    sums: dict[nn.Parameter, Tensor], module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any
) -> Any:
    activations = [x.detach() for x in (*args, *kwargs.values()) if isinstance(x, Tensor)]
    # An in-place operation on a view rewrites the history of its base and would lose the hook.
    tapped: Any = output.clone() if output._base is not None else output

    def arrive(gradient: Tensor) -> None:
        with torch.no_grad():
            for parameter, own in _SAMPLERS[type(module)](module, activations, gradient.detach()).items():
                sums[parameter] = sums[parameter] + own if parameter in sums else own

    if tapped.requires_grad:
        tapped.register_hook(arrive)
    return tapped


def _check_sum(sums: Mapping[nn.Parameter, Tensor], names: Mapping[nn.Parameter, str], tolerance: float) -> None:
    """Every batch is looked at: what no rule sees would be neither clipped nor covered by the noise."""
    used = {p: _dense(p.grad, p) for p in names if p.grad is not None or p in sums}
    if not used:
        return
    gaps = torch.stack([(whole - sums[p].sum(0) if p in sums else whole).norm() for p, whole in used.items()])
    sizes = torch.stack([sums[p].norm() if p in sums else p.new_zeros(()) for p in used])
    wrong = gaps > 10 * tolerance * (sizes + 0.01 * sizes.norm())
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


def _watch_once(
    model: nn.Module, loss: PerRecordLoss, inputs: Inputs, targets: Tensor, watch: AbstractContextManager[None]
) -> None:
    """An ordinary pass for who watches, without a trace in weights, gradients or random numbers."""
    if isinstance(watch, nullcontext):
        return
    with torch.random.fork_rng([targets.device] if targets.device.type == "cuda" else []), watch:
        torch.autograd.backward(loss(call(model, inputs), targets).sum())
    model.zero_grad(set_to_none=True)


@contextmanager
def _beside(model: nn.Module, device: torch.device) -> Iterator[None]:
    """Evaluation mode, a little beside the weights: a branch that a zero switches off would prove nothing."""
    weights = [(p, p.detach().clone()) for p in model.parameters()]
    fields = [(m._buffers, name, b) for m in model.modules() for name, b in m._buffers.items() if b is not None]
    buffers = [(own, name, b, b.clone()) for own, name, b in fields]
    modes = [(module, module.training) for module in model.modules()]
    generator = torch.Generator().manual_seed(0)
    try:
        with torch.random.fork_rng([device] if device.type == "cuda" else []):
            model.eval()
            with torch.no_grad():
                for parameter, _ in weights:
                    noise = torch.randn(parameter.shape, generator=generator).to(parameter)
                    parameter.add_(noise * _JITTER * (parameter.square().mean().sqrt() + _JITTER))
            yield
    finally:
        with torch.no_grad():
            for parameter, copy in weights:
                parameter.copy_(copy)
            for own, name, tensor, copy in buffers:
                own[name] = tensor.copy_(copy)
        for module, mode in modes:
            module.training = mode
        model.zero_grad(set_to_none=True)


def _batch_gradients(model: nn.Module, loss: PerRecordLoss, inputs: Inputs, targets: Tensor) -> dict[str, Tensor]:
    parameters = {name: p for name, p in model.named_parameters() if p.requires_grad}
    total = loss(call(model, inputs), targets).sum()
    found = torch.autograd.grad(total, list(parameters.values()), allow_unused=True)
    return {name: _dense(g, parameter) for (name, parameter), g in zip(parameters.items(), found)}


def _dense(gradient: Tensor | None, parameter: Tensor) -> Tensor:
    if gradient is None:
        return torch.zeros_like(parameter)
    return gradient.to_dense() if gradient.is_sparse else gradient


def _allowed(gradients: Mapping[str, Tensor], tolerance: float) -> dict[str, float]:
    """The error that rounding explains: relative to a parameter's gradients, with a floor for those that are zero."""
    norms = {name: float(g.norm()) for name, g in gradients.items()}
    floor = 0.01 * sum(norm**2 for norm in norms.values()) ** 0.5
    return {name: tolerance * (norm + floor) for name, norm in norms.items()}
