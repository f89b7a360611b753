"""nn.PReLU."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from ptaudit.gradients.layers import Layer
from ptaudit.gradients.projection import LayerSketch
from ptaudit.gradients.rules.base import Contribution, ModuleCall, UnsupportedError, by_record, from_gradients
from ptaudit.gradients.rules.norm import over_channels


def prelu(layer: Layer, calls: Sequence[ModuleCall], n: int, sketch: LayerSketch | None) -> Contribution:
    """The slope of what is negative: one per channel (dimension 1), or one for all."""
    module = layer.module
    assert isinstance(module, nn.PReLU)
    total = torch.zeros(n, module.num_parameters, device=module.weight.device)
    for call in calls:
        if call.input.dim() < 2:
            raise UnsupportedError("no dimension for records")
        slopes = over_channels(call.grad.float() * call.input.float().clamp_max(0))
        slopes = by_record(slopes, n).sum(1)
        total = total + (slopes if module.num_parameters > 1 else slopes.sum(1, keepdim=True))
    return from_gradients({"weight": total}, sketch)
