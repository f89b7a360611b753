"""nn.BatchNorm1d, 2d and 3d with frozen statistics, in which no record touches another."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional as F

from ptaudit.tokens.layers import Layer
from ptaudit.tokens.rules.affine import affine, over_channels
from ptaudit.tokens.rules.base import Contribution, UnsupportedError, Use
from ptaudit.tokens.sketch import LayerSketch


def batch_norm(layer: Layer, uses: Sequence[Use], n: int, sketch: LayerSketch | None) -> Contribution:
    """One scale and shift per channel; the sweep runs in eval mode, so the running statistics are used."""
    module = layer.module
    assert isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d | nn.BatchNorm3d)
    mean, var = module.running_mean, module.running_var
    if mean is None or var is None:
        raise UnsupportedError("it normalises by the statistics of the batch")

    def normalise(x: Tensor) -> Tensor:
        return F.batch_norm(x, mean.float(), var.float(), eps=module.eps)

    return affine(layer, uses, n, sketch, normalise, over_channels)
