"""Slower ways to per-record gradients, for what no rule covers: `torch.func`, and one backward pass per record."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

import torch

from ptaudit.gradients.autograd import parameters_of
from ptaudit.gradients.layers import Capture, Layer
from ptaudit.gradients.projection import LayerSketch
from ptaudit.gradients.record_losses import RecordLosses
from ptaudit.gradients.rules.base import Contribution, from_gradients, pieces
from ptaudit.gradients.whole_gradients import Parameters, WholeGradients, one_by_one, side_by_side
from ptaudit.model_input import as_real

Sketches = Mapping[str, LayerSketch | None]
"""By layer name; None where only the norm is wanted."""

_Way = Callable[[RecordLosses, Parameters], WholeGradients]


def by_vmap(losses: RecordLosses, layers: Sequence[Layer], sketches: Sketches) -> dict[str, Contribution]:
    """Contributions by layer name from all records side by side, in pieces that bound memory."""
    size = sum(p.numel() for p in parameters_of(layers).values())
    return _contributions(side_by_side, [losses.some(s) for s in pieces(len(losses), 2 * size)], layers, sketches)


def by_loop(losses: RecordLosses, layers: Sequence[Layer], sketches: Sketches) -> dict[str, Contribution]:
    """Contributions by layer name from one forward and backward pass per record."""
    alone = [losses.some(slice(i, i + 1)) for i in range(len(losses))]
    return _contributions(one_by_one, alone, layers, sketches)


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


def _contributions(
    way: _Way, parts: Iterable[RecordLosses], layers: Sequence[Layer], sketches: Sketches
) -> dict[str, Contribution]:
    """The whole gradients of one part at a time are in memory."""
    parameters = parameters_of(layers)
    found: dict[str, list[Contribution]] = {layer.name: [] for layer in layers}
    for part in parts:
        grads = {path: as_real(g) for path, g in way(part, parameters).of.items()}
        for layer in layers:
            own = {name: grads[layer.path(name)] for name in layer.parameters}
            found[layer.name].append(from_gradients(own, sketches[layer.name]))
    return {name: _joined(contributions) for name, contributions in found.items()}


def _joined(parts: Sequence[Contribution]) -> Contribution:
    tokens = [token for token, _ in parts if token is not None]
    return torch.cat(tokens) if tokens else None, torch.cat([norm_sq for _, norm_sq in parts])
