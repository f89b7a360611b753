"""nn.LayerNorm."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ptaudit.gradients.layers import Layer
from ptaudit.gradients.projection import LayerSketch
from ptaudit.gradients.rules.affine import affine, total
from ptaudit.gradients.rules.base import Contribution, ModuleCall, UnsupportedError


def layer_norm(layer: Layer, calls: Sequence[ModuleCall], n: int, sketch: LayerSketch | None) -> Contribution:
    """Scale and shift have the normalised shape; positions before it are summed."""
    module = layer.module
    assert isinstance(module, nn.LayerNorm)
    shape = list(module.normalized_shape)
    if any(call.input.dim() <= len(shape) for call in calls):
        raise UnsupportedError("no dimension for records")

    def normalise(x: Tensor) -> Tensor:
        return F.layer_norm(x, shape, eps=module.eps)

    def reduce(x: Tensor) -> Tensor:
        return x.reshape(x.shape[0], -1, *shape).sum(1)

    return affine(layer, calls, n, sketch, normalise, reduce)


def layer_norm_tokens(layer: Layer, calls: Sequence[ModuleCall], n: int, sketch: LayerSketch) -> Tensor:
    """Normalises with the moments of the forward pass where it kept them, in one temporary."""
    module = layer.module
    assert isinstance(module, nn.LayerNorm)
    shape = module.normalized_shape
    if any(call.input.dim() <= len(shape) for call in calls):
        raise UnsupportedError("no dimension for records")
    weights, biases = [], []
    for call in calls:
        g = call.grad.float()
        biases.append(g.reshape(len(g), -1, *shape).sum(1))
        if "weight" in layer.parameters:
            mean, rstd = call.moments or _moments(call.input.float(), len(shape), module.eps)
            normal = (call.input - mean).mul_(rstd).mul_(g)
            weights.append(normal.reshape(len(g), -1, *shape).sum(1))
    parts = {"weight": weights, "bias": biases}
    return sketch({name: total(parts[name], n) for name in layer.parameters})


def _moments(x: Tensor, dims: int, eps: float) -> tuple[Tensor, Tensor]:
    """Mean and reciprocal standard deviation over the last dimensions, kept as ones."""
    var, mean = torch.var_mean(x, dim=tuple(range(-dims, 0)), correction=0, keepdim=True)
    return mean, (var + eps).rsqrt()
