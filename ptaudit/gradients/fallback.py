"""Slower ways to per-record gradients, for what no rule covers: `torch.func`, and one backward pass per record."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor
from torch.func import grad

from ptaudit.gradients.autograd import dense, one_by_one, parameters_of
from ptaudit.gradients.layers import Capture, Layer
from ptaudit.gradients.projection import LayerSketch
from ptaudit.gradients.record_losses import RecordLosses, loss_at, over_records
from ptaudit.gradients.rules.base import Contribution, from_gradients, pieces
from ptaudit.training.batch import as_real

Sketches = Mapping[str, LayerSketch | None]
"""By layer name; None where only the norm is wanted."""


def by_vmap(losses: RecordLosses, layers: Sequence[Layer], sketches: Sketches) -> dict[str, Contribution]:
    """Contributions by layer name from `vmap(grad)` of the functional model, in pieces that bound memory."""
    weights = {path: p.detach() for path, p in parameters_of(layers).items()}
    each = grad(loss_at(losses.model, losses.loss))
    parts = []
    for s in pieces(len(losses), 2 * sum(p.numel() for p in weights.values())):
        some = losses.some(s)
        grads = over_records(each, weights, some.inputs, some.targets)
        with torch.no_grad():
            parts.append(_contributions(layers, sketches, {path: as_real(g) for path, g in grads.items()}))
    return _joined(parts)


def by_loop(losses: RecordLosses, layers: Sequence[Layer], sketches: Sketches) -> dict[str, Contribution]:
    """Contributions by layer name from one forward and backward pass per record."""
    every = (dense(layers, grads) for grads in one_by_one(losses, layers))
    return _joined([_contributions(layers, sketches, {path: g[None] for path, g in one.items()}) for one in every])


def by_fallback(
    losses: RecordLosses, layers: Mapping[Capture, Sequence[Layer]], sketches: Sketches
) -> dict[str, Contribution]:
    """Contributions of the layers that are captured in each of the slower ways."""
    found: dict[str, Contribution] = {}
    if by := layers.get("vmap"):
        found |= by_vmap(losses, by, sketches)
    if by := layers.get("loop"):
        found |= by_loop(losses, by, sketches)
    return found


def _contributions(layers: Sequence[Layer], sketches: Sketches, grads: Mapping[str, Tensor]) -> dict[str, Contribution]:
    return {
        layer.name: from_gradients({name: grads[layer.path(name)] for name in layer.parameters}, sketches[layer.name])
        for layer in layers
    }


def _joined(parts: Sequence[dict[str, Contribution]]) -> dict[str, Contribution]:
    result: dict[str, Contribution] = {}
    for name in parts[0]:
        whole = [token for token, _ in (part[name] for part in parts) if token is not None]
        result[name] = (torch.cat(whole) if whole else None, torch.cat([part[name][1] for part in parts]))
    return result
