"""Slower ways to per-record gradients, for what no rule covers: `torch.func`, and one backward pass per record."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap

from ptaudit.gradients.frozen_state import grads_aside
from ptaudit.gradients.layers import Layer
from ptaudit.gradients.per_example_pass import PerRecordLoss, per_record, reentrant
from ptaudit.gradients.projection import LayerSketch
from ptaudit.gradients.rules.base import Contribution, from_gradients, pieces
from ptaudit.training.batch import Inputs, as_real, batched, call, mapped, rows

Sketches = Mapping[str, LayerSketch | None]
"""By layer name; None where only the norm is wanted."""


def vmap_contributions(
    model: nn.Module, loss: PerRecordLoss, layers: Sequence[Layer], sketches: Sketches, inputs: Inputs, targets: Tensor
) -> dict[str, Contribution]:
    """Per-record gradients by `vmap(grad)` of the functional model, in pieces that bound memory."""

    def one(parameters: dict[str, Tensor], x: Inputs, y: Tensor) -> Tensor:
        output = call(_Functional(model, parameters), mapped(lambda leaf: leaf.unsqueeze(0), x))
        return per_record(loss, output, y.unsqueeze(0)).squeeze(0)

    parameters = {layer.path(name): p.detach() for layer in layers for name, p in layer.parameters.items()}
    per_example = vmap(grad(one), in_dims=(None, 0, 0))
    parts: list[dict[str, Contribution]] = []
    with torch.no_grad(), batched():
        for s in pieces(len(targets), 2 * sum(p.numel() for p in parameters.values())):
            grads = per_example(parameters, rows(inputs, s), targets[s])
            parts.append(_contributions(layers, sketches, {path: as_real(g) for path, g in grads.items()}))
    return _joined(parts)


def loop_contributions(
    model: nn.Module, loss: PerRecordLoss, layers: Sequence[Layer], sketches: Sketches, inputs: Inputs, targets: Tensor
) -> dict[str, Contribution]:
    """One forward and backward pass per record."""
    return _joined(
        [
            _contributions(layers, sketches, {name: g.unsqueeze(0) for name, g in dense(layers, grads).items()})
            for grads in one_by_one(model, loss, layers, inputs, targets)
        ]
    )


def one_by_one(
    model: nn.Module, loss: PerRecordLoss, layers: Sequence[Layer], inputs: Inputs, targets: Tensor
) -> Iterator[dict[str, Tensor | None]]:
    """The gradient of each record alone by plain autograd: the reference that all else is held against."""
    for i in range(len(targets)):
        yield summed(model, loss, layers, rows(inputs, slice(i, i + 1)), targets[i : i + 1])


def summed(
    model: nn.Module, loss: PerRecordLoss, layers: Sequence[Layer], inputs: Inputs, targets: Tensor
) -> dict[str, Tensor | None]:
    """Gradient of the summed loss by parameter path; None where the loss does not depend on the parameter."""
    names = {layer.path(name): p for layer in layers for name, p in layer.parameters.items()}
    losses = per_record(loss, call(model, inputs), targets)
    if not losses.requires_grad:
        return dict.fromkeys(names)
    if not (losses.grad_fn and reentrant(losses.grad_fn)):
        return dict(zip(names, torch.autograd.grad(losses.sum(), list(names.values()), allow_unused=True)))
    with grads_aside(model.parameters()):
        losses.sum().backward()  # type: ignore[no-untyped-call]
        return {name: parameter.grad for name, parameter in names.items()}


def dense(layers: Sequence[Layer], grads: Mapping[str, Tensor | None]) -> dict[str, Tensor]:
    """Gradients as real numbers, with zeros for None, and sparse ones filled up."""
    result = {}
    for layer in layers:
        for name, parameter in layer.parameters.items():
            g = grads[layer.path(name)]
            g = torch.zeros_like(parameter) if g is None else g
            result[layer.path(name)] = as_real((g.to_dense() if g.is_sparse else g).detach())
    return result


class _Functional(nn.Module):
    """The model with other parameters, called as the model is."""

    def __init__(self, model: nn.Module, parameters: dict[str, Tensor]) -> None:
        super().__init__()
        self._target = (model, parameters)  # a tuple, so that neither is registered

    def forward(self, *args: Tensor, **kwargs: Tensor) -> Any:
        return functional_call(*self._target, args, kwargs)


def _contributions(layers: Sequence[Layer], sketches: Sketches, grads: Mapping[str, Tensor]) -> dict[str, Contribution]:
    return {
        layer.name: from_gradients({name: grads[layer.path(name)] for name in layer.parameters}, sketches[layer.name])
        for layer in layers
    }


def _joined(parts: Sequence[dict[str, Contribution]]) -> dict[str, Contribution]:
    result: dict[str, Contribution] = {}
    for name in parts[0]:
        tokens = [part[name][0] for part in parts]
        whole = [token for token in tokens if token is not None]
        result[name] = (torch.cat(whole) if whole else None, torch.cat([part[name][1] for part in parts]))
    return result
