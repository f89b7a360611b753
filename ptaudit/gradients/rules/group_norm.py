"""nn.GroupNorm."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ptaudit.gradients.layers import Layer
from ptaudit.gradients.projection import LayerSketch
from ptaudit.gradients.rules.affine import affine, channel_tokens, over_channels
from ptaudit.gradients.rules.base import Contribution, ModuleCall


def group_norm(layer: Layer, calls: Sequence[ModuleCall], n: int, sketch: LayerSketch | None) -> Contribution:
    """One scale and shift per channel."""
    module = layer.module
    assert isinstance(module, nn.GroupNorm)

    def normalise(x: Tensor) -> Tensor:
        return F.group_norm(x, module.num_groups, eps=module.eps)

    return affine(layer, calls, n, sketch, normalise, over_channels)


def group_norm_tokens(layer: Layer, calls: Sequence[ModuleCall], n: int, sketch: LayerSketch) -> Tensor:
    """From two sums over positions; mean and spread of the groups are those of the forward pass where it kept them."""
    module = layer.module
    assert isinstance(module, nn.GroupNorm)

    def moments(call: ModuleCall) -> tuple[Tensor, Tensor]:
        mean, rstd = call.moments or _moments(call.input.float(), module.num_groups, module.eps)
        each = module.num_channels // module.num_groups
        return mean.repeat_interleave(each, 1), rstd.repeat_interleave(each, 1)

    return channel_tokens(layer, calls, n, sketch, moments)


def _moments(x: Tensor, groups: int, eps: float) -> tuple[Tensor, Tensor]:
    """Mean and reciprocal standard deviation of each group: (rows, groups)."""
    var, mean = torch.var_mean(x.reshape(len(x), groups, -1), dim=2, correction=0)
    return mean, (var + eps).rsqrt()
