"""nn.Linear on inputs (rows, ..., in)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ptaudit.gradients.layers import Layer
from ptaudit.gradients.projection import LayerSketch
from ptaudit.gradients.rules.base import (
    Contribution,
    ModuleCall,
    UnsupportedError,
    all_positions,
    by_record,
    from_gradients,
    ghost_is_cheaper,
    ghost_norm_sq,
    pieces,
)


def linear(layer: Layer, calls: Sequence[ModuleCall], n: int, sketch: LayerSketch | None) -> Contribution:
    """Positions of all calls are concatenated, so that their cross terms are kept in the norm."""
    bias = "bias" in layer.parameters
    g = all_positions([call.grad for call in calls], n)
    if "weight" not in layer.parameters:
        return from_gradients({"bias": g.sum(1)}, sketch)
    a = all_positions([call.input for call in calls], n)
    length, rows, columns = a.shape[1], g.shape[2], a.shape[2]
    if ghost_is_cheaper(length, rows, columns):
        parts = [ghost_norm_sq(a[s].mT, g[s].mT, bias) for s in pieces(n, length**2)]
        return None if sketch is None else _tokens(a, g, sketch), torch.cat(parts)
    return _explicit(a, g, bias, sketch)


def linear_tokens(layer: Layer, calls: Sequence[ModuleCall], n: int, sketch: LayerSketch) -> Tensor:
    """Both sides projected as flat matrices, then one small product per record."""
    if "weight" not in layer.parameters:
        return sketch({"bias": all_positions([call.grad for call in calls], n).sum(1)})
    block = sketch.matrix()
    total: Tensor | None = None
    for call in calls:
        if call.input.dim() < 2:
            raise UnsupportedError("no dimension for records")
        right = _projected(call.input, block.right, n)
        if block.corner is not None:
            right = right + block.corner[:, None]
        token = _projected(call.grad, block.left, n) @ right.mT
        total = token if total is None else total + token
    assert total is not None
    return total.flatten(1)


def _projected(x: Tensor, matrix: Tensor, n: int) -> Tensor:
    """(rows, ..., features) by (side, features) to (n, side, positions of a record)."""
    flat = by_record(x, n).flatten(0, -2).float()
    return by_record((matrix @ flat.mT).mT, n).mT


def _tokens(a: Tensor, g: Tensor, sketch: LayerSketch) -> Tensor:
    block = sketch.matrix()
    right = a @ block.right.T
    if block.corner is not None:
        right = right + block.corner
    return ((g @ block.left.T).mT @ right).flatten(1)


def _explicit(a: Tensor, g: Tensor, bias: bool, sketch: LayerSketch | None) -> Contribution:
    tokens, norms = [], []
    for s in pieces(len(a), a.shape[2] * g.shape[2]):
        grads = {"weight": g[s].mT @ a[s]}
        if bias:
            grads["bias"] = g[s].sum(1)
        token, norm_sq = from_gradients(grads, sketch)
        tokens.append(token)
        norms.append(norm_sq)
    return None if sketch is None else torch.cat([t for t in tokens if t is not None]), torch.cat(norms)
