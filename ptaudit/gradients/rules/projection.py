"""Uses of rows of a weight matrix by `F.linear`, wherever it is called: what nn.MultiheadAttention is made of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ptaudit.gradients.layers import Layer
from ptaudit.gradients.projection import LayerSketch, MatrixBlock
from ptaudit.gradients.rules.base import (
    Contribution,
    ModuleCall,
    all_positions,
    ghost_is_cheaper,
    ghost_norm_sq,
    pieces,
    positions,
)
from ptaudit.gradients.rules.expanded import Expanded, add_expanded

RowsOf = tuple[str, int]
"""A parameter of the layer and the first of its rows that were used."""


@dataclass(frozen=True)
class Projection(ModuleCall):
    """One call of `F.linear` with rows of the layer's weight, of its bias, or of both.

    Attributes:
        weight: which rows of which weight, or None if the weight is not the layer's.
        bias: the same for the bias.
    """

    weight: RowsOf | None = None
    bias: RowsOf | None = None


def projection(layer: Layer, calls: Sequence[ModuleCall], n: int, sketch: LayerSketch | None) -> Contribution:
    """Weights as in a linear layer, padded to all their rows; biases and expanded parameters as they are."""
    small = _small(layer, calls, n)
    norm_sq = torch.zeros(n, device=calls[0].grad.device)
    for grad in small.values():
        norm_sq = norm_sq + _square(grad)
    for name in layer.parameters:
        if found := _of(calls, name):
            norm_sq = norm_sq + _norm_sq(found, layer.parameters[name].shape, n)
    return None if sketch is None else _tokens(calls, n, sketch, small), norm_sq


def projection_tokens(layer: Layer, calls: Sequence[ModuleCall], n: int, sketch: LayerSketch) -> Tensor:
    """Tokens (n, dim) without norms."""
    return _tokens(calls, n, sketch, _small(layer, calls, n))


def plain(layer: Layer, calls: Sequence[ModuleCall]) -> Sequence[ModuleCall] | None:
    """The calls as those of an nn.Linear, if each of them is of all its parameters, whole."""
    return [ModuleCall(call.input, call.grad) for call in calls] if all(_whole(layer, call) for call in calls) else None


def _whole(layer: Layer, call: ModuleCall) -> bool:
    if not isinstance(call, Projection):
        return True
    assert isinstance(layer.module, nn.Linear)
    used = {rows[0] for rows in (call.weight, call.bias) if rows is not None}
    return used == set(layer.parameters) and call.grad.shape[-1] == layer.module.out_features


def _tokens(calls: Sequence[ModuleCall], n: int, sketch: LayerSketch, small: dict[str, Tensor]) -> Tensor:
    total = torch.zeros(n, sketch.dim, device=calls[0].grad.device)
    for block, span in sketch.spans():
        if not isinstance(block, MatrixBlock):
            total[:, span] += block(small)
            continue
        if block.bias is not None and block.corner is not None:
            total[:, span] += ((small[block.bias] @ block.left.T).unsqueeze(2) * block.corner).flatten(1)
        for call, start in _of(calls, block.weight):
            a, g = positions(call.input, n), positions(call.grad, n)
            left = block.left[:, start : start + g.shape[2]]
            total[:, span] += ((g @ left.T).mT @ (a @ block.right.T)).flatten(1)
    return total


def _small(layer: Layer, calls: Sequence[ModuleCall], n: int) -> dict[str, Tensor]:
    """Gradients of what is no weight, by name."""
    own = {name: parameter for name, parameter in layer.parameters.items() if parameter.dim() != 2}
    grads = {name: torch.zeros(n, *parameter.shape, device=parameter.device) for name, parameter in own.items()}
    for call in calls:
        if isinstance(call, Expanded):
            add_expanded(grads, call, n)
        elif (bias := _rows(call)[1]) is not None and bias[0] in grads:
            total = positions(call.grad, n).sum(1)
            grads[bias[0]][:, bias[1] : bias[1] + total.shape[1]] += total
    return grads


def _rows(call: ModuleCall) -> tuple[RowsOf | None, RowsOf | None]:
    """Which weight and bias; a call that a module hook saw is one of a whole nn.Linear."""
    return (call.weight, call.bias) if isinstance(call, Projection) else (("weight", 0), ("bias", 0))


def _of(calls: Sequence[ModuleCall], name: str) -> list[tuple[ModuleCall, int]]:
    """Uses of one weight, each with its first row."""
    found = [(call, _rows(call)[0]) for call in calls if not isinstance(call, Expanded)]
    return [(call, rows[1]) for call, rows in found if rows is not None and rows[0] == name]


def _norm_sq(found: Sequence[tuple[ModuleCall, int]], shape: torch.Size, n: int) -> Tensor:
    rows, columns = shape
    a = all_positions([call.input for call, _ in found], n)
    grads = [(positions(call.grad, n), start) for call, start in found]
    g = torch.cat([F.pad(x, (start, rows - start - x.shape[2])) for x, start in grads], dim=1)
    length = a.shape[1]
    if ghost_is_cheaper(length, rows, columns):
        return torch.cat([ghost_norm_sq(a[s].mT, g[s].mT, False) for s in pieces(n, length**2)])
    return torch.cat([_square(g[s].mT @ a[s]) for s in pieces(n, rows * columns)])


def _square(x: Tensor) -> Tensor:
    return x.flatten(1).square().sum(1)
