"""The scale and shift of normalisation layers: gradients are small, so they are built."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from ptaudit.tokens.layers import Layer
from ptaudit.tokens.rules.base import Contribution, Use, by_record, from_gradients
from ptaudit.tokens.sketch import LayerSketch


def affine(
    layer: Layer,
    uses: Sequence[Use],
    n: int,
    sketch: LayerSketch | None,
    normalise: Callable[[Tensor], Tensor],
    reduce: Callable[[Tensor], Tensor],
) -> Contribution:
    """Gradients of `normalise(x) * weight + bias`.

    Args:
        layer: the layer, which may own only one of weight and bias.
        uses: its uses.
        n: records.
        sketch: its sketch, or None for norms alone.
        normalise: the layer without scale and shift.
        reduce: sums (rows, ...) over what shares a parameter, to (rows, *parameter shape).
    """
    grads: dict[str, Tensor] = {}
    if "weight" in layer.parameters:
        grads["weight"] = _total([reduce(use.grad.float() * normalise(use.input.float())) for use in uses], n)
    if "bias" in layer.parameters:
        grads["bias"] = _total([reduce(use.grad.float()) for use in uses], n)
    return from_gradients(grads, sketch)


def over_channels(x: Tensor) -> Tensor:
    """Sums (rows, channels, ...) to (rows, channels)."""
    return x.reshape(*x.shape[:2], -1).sum(2)


def _total(parts: Sequence[Tensor], n: int) -> Tensor:
    return torch.stack([by_record(part, n).sum(1) for part in parts]).sum(0)
