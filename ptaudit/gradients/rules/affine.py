"""The scale and shift of normalisation layers: gradients are small, so they are built."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from ptaudit.gradients.layers import Layer
from ptaudit.gradients.projection import LayerSketch
from ptaudit.gradients.rules.base import Contribution, Use, by_record, from_gradients


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
        grads["weight"] = total([reduce(use.grad.float() * normalise(use.input.float())) for use in uses], n)
    if "bias" in layer.parameters:
        grads["bias"] = total([reduce(use.grad.float()) for use in uses], n)
    return from_gradients(grads, sketch)


def channel_tokens(
    layer: Layer, uses: Sequence[Use], n: int, sketch: LayerSketch, moments: Callable[[Use], tuple[Tensor, Tensor]]
) -> Tensor:
    """Tokens of one scale and shift per channel without building `normalise(x)`.

    sum(g * (x - mean) * rstd) = (sum(g * x) - mean * sum(g)) * rstd, so that two sums over positions are all that is
    needed. In float32 it loses as many digits as |mean| / std has.

    Args:
        layer: the layer, which may own only one of weight and bias.
        uses: its uses, (rows, channels, ...).
        n: records.
        sketch: its sketch.
        moments: mean and reciprocal standard deviation of a use's input, each (rows, channels) or (channels,).
    """
    weights, biases = [], []
    for use in uses:
        g = use.grad.flatten(2) if use.grad.dim() > 2 else use.grad.unsqueeze(2)
        g, x = g.float(), use.input.reshape(g.shape).float()
        shift = g.sum(2)
        biases.append(shift)
        if "weight" in layer.parameters:
            mean, rstd = moments(use)
            weights.append((torch.linalg.vecdot(g, x) - mean * shift) * rstd)
    parts = {"weight": weights, "bias": biases}
    return sketch({name: total(parts[name], n) for name in layer.parameters})


def over_channels(x: Tensor) -> Tensor:
    """Sums (rows, channels, ...) to (rows, channels)."""
    return x.reshape(*x.shape[:2], -1).sum(2)


def total(parts: Sequence[Tensor], n: int) -> Tensor:
    """Sum over uses and over the rows of a record: (n, *parameter shape)."""
    summed = [part if len(part) == n else by_record(part, n).sum(1) for part in parts]
    return summed[0] if len(summed) == 1 else torch.stack(summed).sum(0)
