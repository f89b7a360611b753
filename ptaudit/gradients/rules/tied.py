"""nn.Embedding whose table is a matrix elsewhere too, as with the output head of most language models."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ptaudit.gradients.layers import Layer
from ptaudit.gradients.projection import LayerSketch
from ptaudit.gradients.rules.base import Contribution, ModuleCall, pieces, positions
from ptaudit.gradients.rules.embedding import embedding, embedding_tokens, looked_up
from ptaudit.gradients.rules.projection import Projection, projection, projection_tokens


def tied(layer: Layer, calls: Sequence[ModuleCall], n: int, sketch: LayerSketch | None) -> Contribution:
    """The sum of a gradient of looked-up rows and one of a product; their inner product is in the norm."""
    products, lookups = _parted(calls)
    tokens, norm_sq = projection(layer, products, n, sketch)
    if not lookups:
        return tokens, norm_sq
    more, more_sq = embedding(layer, lookups, n, sketch)
    norm_sq = norm_sq + more_sq
    for lookup in lookups:
        for product in products:
            norm_sq = norm_sq + 2 * _inner(layer, lookup, product, n)
    return None if tokens is None or more is None else tokens + more, norm_sq.clamp_min(0)


def tied_tokens(layer: Layer, calls: Sequence[ModuleCall], n: int, sketch: LayerSketch) -> Tensor:
    """The same without norms."""
    products, lookups = _parted(calls)
    tokens = projection_tokens(layer, products, n, sketch)
    return tokens + embedding_tokens(layer, lookups, n, sketch) if lookups else tokens


def _parted(calls: Sequence[ModuleCall]) -> tuple[list[Projection], list[ModuleCall]]:
    """Products, and what else there is."""
    products = [call for call in calls if isinstance(call, Projection)]
    return products, [call for call in calls if not isinstance(call, Projection)]


def _inner(layer: Layer, lookup: ModuleCall, product: Projection, n: int) -> Tensor:
    """Sum over lookups t and positions s of <g_t, a_s> times the entry of s's output gradient at the row of t."""
    module = layer.module
    assert isinstance(module, nn.Embedding)
    index, looked = looked_up(module, [lookup], n)
    a, g = (positions(x, n) for x in (product.input, product.grad))
    start = product.weight[1] if product.weight else 0
    parts = []
    for s in pieces(n, index.shape[1] * a.shape[1]):
        at = index[s, None, :] - start
        inside = (at >= 0) & (at < g.shape[2])
        entries = g[s].gather(2, at.clamp(0, g.shape[2] - 1).expand(-1, a.shape[1], -1)) * inside
        parts.append((entries * (a[s] @ looked[s].mT)).sum((1, 2)))
    return torch.cat(parts)
