"""nn.Embedding: the gradient has a row per entry that occurs in the record."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ptaudit.gradients.layers import Layer
from ptaudit.gradients.projection import LayerSketch
from ptaudit.gradients.rules.base import Contribution, ModuleCall, UnsupportedError, all_positions, by_record


def embedding(layer: Layer, calls: Sequence[ModuleCall], n: int, sketch: LayerSketch | None) -> Contribution:
    """Looks up the columns of the left projection instead of building the (entries, width) gradient."""
    module = _supported(layer)
    index, g = looked_up(module, calls, n)
    norm_sq = _norm_sq(index, g, module.num_embeddings)
    return None if sketch is None else _tokens(index, g, sketch), norm_sq


def embedding_tokens(layer: Layer, calls: Sequence[ModuleCall], n: int, sketch: LayerSketch) -> Tensor:
    """The same without norms, which take sorting."""
    return _tokens(*looked_up(_supported(layer), calls, n), sketch)


def _supported(layer: Layer) -> nn.Embedding:
    module = layer.module
    assert isinstance(module, nn.Embedding)
    if module.max_norm is not None or module.scale_grad_by_freq or module.sparse:
        raise UnsupportedError("max_norm, scale_grad_by_freq or sparse is set")
    return module


def looked_up(module: nn.Embedding, calls: Sequence[ModuleCall], n: int) -> tuple[Tensor, Tensor]:
    """Entries (n, positions) and gradients (n, positions, width) of all calls; padding has no gradient."""
    index = torch.cat([by_record(call.input, n).flatten(1) for call in calls], dim=1)
    g = all_positions([call.grad for call in calls], n)
    if module.padding_idx is not None:
        g = g * (index != module.padding_idx).unsqueeze(2)
    return index, g


def _tokens(index: Tensor, g: Tensor, sketch: LayerSketch) -> Tensor:
    block = sketch.matrix()
    return (block.left.T[index].mT @ (g @ block.right.T)).flatten(1)


def _norm_sq(index: Tensor, g: Tensor, entries: int) -> Tensor:
    """Sums what falls on the same entry of the same record, then squares."""
    n = len(index)
    record = torch.arange(n, device=index.device).unsqueeze(1)
    keys, row = torch.unique((record * entries + index).flatten(), return_inverse=True)
    rows = g.new_zeros(len(keys), g.shape[2]).index_add_(0, row, g.flatten(0, 1))
    return g.new_zeros(n).index_add_(0, keys // entries, rows.square().sum(1))
