"""Uses of rows of a weight matrix by `F.linear`, wherever it is called: what nn.MultiheadAttention is made of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ptaudit.gradients.layers import Layer
from ptaudit.gradients.projection import LayerSketch, MatrixBlock
from ptaudit.gradients.rules.base import Contribution, UnsupportedError, Use, by_record, pieces
from ptaudit.gradients.rules.expanded import Expanded, add_expanded
from ptaudit.gradients.rules.matrix import ghost_is_cheaper, ghost_norm_sq

Rows = tuple[str, int]
"""A parameter of the layer and the first of its rows that were used."""


@dataclass(frozen=True)
class Projection(Use):
    """One call of `F.linear` with rows of the layer's weight, of its bias, or of both.

    Attributes:
        weight: which rows of which weight, or None if the weight is not the layer's.
        bias: the same for the bias.
    """

    weight: Rows | None = None
    bias: Rows | None = None


def projection(layer: Layer, uses: Sequence[Use], n: int, sketch: LayerSketch | None) -> Contribution:
    """Weights as in a linear layer, padded to all their rows; biases and expanded parameters as they are."""
    small = _small(layer, uses, n)
    norm_sq = torch.zeros(n, device=uses[0].grad.device)
    for grad in small.values():
        norm_sq = norm_sq + _square(grad)
    for name in layer.parameters:
        if found := _of(uses, name):
            norm_sq = norm_sq + _norm_sq(found, layer.parameters[name].shape, n)
    return None if sketch is None else _tokens(uses, n, sketch, small), norm_sq


def projection_tokens(layer: Layer, uses: Sequence[Use], n: int, sketch: LayerSketch) -> Tensor:
    """Tokens (n, dim) without norms."""
    return _tokens(uses, n, sketch, _small(layer, uses, n))


def plain(layer: Layer, uses: Sequence[Use]) -> Sequence[Use] | None:
    """The uses as those of an nn.Linear, if each of them is of all its parameters, whole."""
    return [Use(use.input, use.grad) for use in uses] if all(_whole(layer, use) for use in uses) else None


def _whole(layer: Layer, use: Use) -> bool:
    if not isinstance(use, Projection):
        return True
    assert isinstance(layer.module, nn.Linear)
    used = {rows[0] for rows in (use.weight, use.bias) if rows is not None}
    return used == set(layer.parameters) and use.grad.shape[-1] == layer.module.out_features


def _tokens(uses: Sequence[Use], n: int, sketch: LayerSketch, small: dict[str, Tensor]) -> Tensor:
    total = torch.zeros(n, sketch.dim, device=uses[0].grad.device)
    for block, place in sketch.placed():
        if not isinstance(block, MatrixBlock):
            total[:, place] += block(small)
            continue
        if block.bias is not None and block.corner is not None:
            total[:, place] += ((small[block.bias] @ block.left.T).unsqueeze(2) * block.corner).flatten(1)
        for use, start in _of(uses, block.weight):
            a, g = _positions(use.input, n), _positions(use.grad, n)
            left = block.left[:, start : start + g.shape[2]]
            total[:, place] += ((g @ left.T).mT @ (a @ block.right.T)).flatten(1)
    return total


def _small(layer: Layer, uses: Sequence[Use], n: int) -> dict[str, Tensor]:
    """Gradients of what is no weight, by name."""
    own = {name: parameter for name, parameter in layer.parameters.items() if parameter.dim() != 2}
    grads = {name: torch.zeros(n, *parameter.shape, device=parameter.device) for name, parameter in own.items()}
    for use in uses:
        if isinstance(use, Expanded):
            add_expanded(grads, use, n)
        elif (bias := _rows(use)[1]) is not None and bias[0] in grads:
            total = _positions(use.grad, n).sum(1)
            grads[bias[0]][:, bias[1] : bias[1] + total.shape[1]] += total
    return grads


def _rows(use: Use) -> tuple[Rows | None, Rows | None]:
    """Which weight and bias; a use that a module hook saw is one of a whole nn.Linear."""
    return (use.weight, use.bias) if isinstance(use, Projection) else (("weight", 0), ("bias", 0))


def _of(uses: Sequence[Use], name: str) -> list[tuple[Use, int]]:
    """Uses of one weight, each with its first row."""
    found = [(use, _rows(use)[0]) for use in uses if not isinstance(use, Expanded)]
    return [(use, rows[1]) for use, rows in found if rows is not None and rows[0] == name]


def _norm_sq(found: Sequence[tuple[Use, int]], shape: torch.Size, n: int) -> Tensor:
    rows, columns = shape
    a = torch.cat([_positions(use.input, n) for use, _ in found], dim=1)
    grads = [(_positions(use.grad, n), start) for use, start in found]
    g = torch.cat([F.pad(x, (start, rows - start - x.shape[2])) for x, start in grads], dim=1)
    positions = a.shape[1]
    if ghost_is_cheaper(positions, rows, columns):
        return torch.cat([ghost_norm_sq(a[s].mT, g[s].mT, False) for s in pieces(n, positions**2)])
    return torch.cat([_square(g[s].mT @ a[s]) for s in pieces(n, rows * columns)])


def _positions(x: Tensor, n: int) -> Tensor:
    """All positions of each record: (n, positions, features)."""
    if x.dim() < 2:
        raise UnsupportedError("no dimension for records")
    return by_record(x, n).flatten(1, -2).float()


def _square(x: Tensor) -> Tensor:
    return x.flatten(1).square().sum(1)
