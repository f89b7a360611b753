"""nn.BatchNorm1d, 2d and 3d with frozen statistics, in which no record touches another.

In training mode a record's part of the gradient is defined too, but only for the very batch that it was in."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ptaudit.gradients.layers import Layer
from ptaudit.gradients.projection import LayerSketch
from ptaudit.gradients.rules.affine import affine, channel_tokens, over_channels
from ptaudit.gradients.rules.base import Contribution, ModuleCall, UnsupportedError


def batch_norm(layer: Layer, calls: Sequence[ModuleCall], n: int, sketch: LayerSketch | None) -> Contribution:
    """One scale and shift per channel; the sweep runs in eval mode, so the running statistics are used."""
    module = layer.module
    assert isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d | nn.BatchNorm3d)
    mean, var = module.running_mean, module.running_var
    if mean is None or var is None:
        raise UnsupportedError("it normalises by the statistics of the batch")

    def normalise(x: Tensor) -> Tensor:
        return F.batch_norm(x, mean.float(), var.float(), eps=module.eps)

    return affine(layer, calls, n, sketch, normalise, over_channels)


def batch_norm_tokens(layer: Layer, calls: Sequence[ModuleCall], n: int, sketch: LayerSketch) -> Tensor:
    """From two sums over positions, with the statistics that the forward pass normalised by."""
    module = layer.module
    assert isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d | nn.BatchNorm3d)

    def moments(call: ModuleCall) -> tuple[Tensor, Tensor]:
        mean, var = module.running_mean, module.running_var
        if module.training or mean is None or var is None:
            return call.moments or _moments(call.input.float(), module.eps)
        return mean.float(), (var.float() + module.eps).rsqrt()

    return channel_tokens(layer, calls, n, sketch, moments)


def _moments(x: Tensor, eps: float) -> tuple[Tensor, Tensor]:
    """Mean and reciprocal standard deviation of each channel over the batch: (channels,)."""
    var, mean = torch.var_mean(x, dim=[0, *range(2, x.dim())], correction=0)
    return mean, (var + eps).rsqrt()
