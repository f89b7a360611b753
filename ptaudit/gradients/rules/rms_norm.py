"""nn.RMSNorm (Zhang and Sennrich, arXiv 1910.07467)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ptaudit.gradients.layers import Layer
from ptaudit.gradients.projection import LayerSketch
from ptaudit.gradients.rules.affine import affine
from ptaudit.gradients.rules.base import Contribution, ModuleCall, UnsupportedError


def rms_norm(layer: Layer, calls: Sequence[ModuleCall], n: int, sketch: LayerSketch | None) -> Contribution:
    """The scale has the normalised shape; positions before it are summed."""
    module = layer.module
    assert isinstance(module, nn.RMSNorm)
    shape = list(module.normalized_shape)
    if any(call.input.dim() <= len(shape) for call in calls):
        raise UnsupportedError("no dimension for records")
    eps = torch.finfo(calls[0].input.dtype).eps if module.eps is None else module.eps

    def normalise(x: Tensor) -> Tensor:
        return F.rms_norm(x, shape, eps=eps)

    def reduce(x: Tensor) -> Tensor:
        return x.reshape(x.shape[0], -1, *shape).sum(1)

    return affine(layer, calls, n, sketch, normalise, reduce)
