"""The scale and shift of normalisation layers: gradients are small, so they are built."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from ptaudit.gradients.layers import Layer
from ptaudit.gradients.projection import LayerSketch
from ptaudit.gradients.rules.base import Contribution, ModuleCall, by_record, from_gradients


def affine(
    layer: Layer,
    calls: Sequence[ModuleCall],
    n: int,
    sketch: LayerSketch | None,
    normalise: Callable[[Tensor], Tensor],
    reduce: Callable[[Tensor], Tensor],
) -> Contribution:
    """Gradients of `normalise(x) * weight + bias`.

    Args:
        layer: the layer, which may own only one of weight and bias.
        calls: its calls.
        n: records.
        sketch: its sketch, or None for norms alone.
        normalise: the layer without scale and shift.
        reduce: sums (rows, ...) over what shares a parameter, to (rows, *parameter shape).
    """
    grads: dict[str, Tensor] = {}
    if "weight" in layer.parameters:
        grads["weight"] = total([reduce(call.grad.float() * normalise(call.input.float())) for call in calls], n)
    if "bias" in layer.parameters:
        grads["bias"] = total([reduce(call.grad.float()) for call in calls], n)
    return from_gradients(grads, sketch)


def channel_tokens(
    layer: Layer,
    calls: Sequence[ModuleCall],
    n: int,
    sketch: LayerSketch,
    moments: Callable[[ModuleCall], tuple[Tensor, Tensor]],
) -> Tensor:
    """Tokens of one scale and shift per channel without building `normalise(x)`.

    sum(g * (x - mean) * rstd) = (sum(g * x) - mean * sum(g)) * rstd, so that two sums over positions are all that is
    needed. In float32 it loses as many digits as |mean| / std has.

    Args:
        layer: the layer, which may own only one of weight and bias.
        calls: its calls, (rows, channels, ...).
        n: records.
        sketch: its sketch.
        moments: mean and reciprocal standard deviation of a use's input, each (rows, channels) or (channels,).
    """
    weights, biases = [], []
    for call in calls:
        g = call.grad.flatten(2) if call.grad.dim() > 2 else call.grad.unsqueeze(2)
        g, x = g.float(), call.input.reshape(g.shape).float()
        shift = g.sum(2)
        biases.append(shift)
        if "weight" in layer.parameters:
            mean, rstd = moments(call)
            weights.append((torch.linalg.vecdot(g, x) - mean * shift) * rstd)
    parts = {"weight": weights, "bias": biases}
    return sketch({name: total(parts[name], n) for name in layer.parameters})


def over_channels(x: Tensor) -> Tensor:
    """Sums (rows, channels, ...) to (rows, channels)."""
    return x.reshape(*x.shape[:2], -1).sum(2)


def total(parts: Sequence[Tensor], n: int) -> Tensor:
    """Sum over calls and over the rows of a record: (n, *parameter shape)."""
    summed = [part if len(part) == n else by_record(part, n).sum(1) for part in parts]
    return summed[0] if len(summed) == 1 else torch.stack(summed).sum(0)
