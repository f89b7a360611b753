"""nn.GroupNorm."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional as F

from ptaudit.tokens.layers import Layer
from ptaudit.tokens.rules.affine import affine, over_channels
from ptaudit.tokens.rules.base import Contribution, Use
from ptaudit.tokens.sketch import LayerSketch


def group_norm(layer: Layer, uses: Sequence[Use], n: int, sketch: LayerSketch | None) -> Contribution:
    """One scale and shift per channel."""
    module = layer.module
    assert isinstance(module, nn.GroupNorm)

    def normalise(x: Tensor) -> Tensor:
        return F.group_norm(x, module.num_groups, eps=module.eps)

    return affine(layer, uses, n, sketch, normalise, over_channels)
