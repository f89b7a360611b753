"""nn.InstanceNorm1d, 2d and 3d with scale and shift."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional as F

from ptaudit.gradients.layers import Layer
from ptaudit.gradients.projection import LayerSketch
from ptaudit.gradients.rules.affine import affine, over_channels
from ptaudit.gradients.rules.base import Contribution, ModuleCall, UnsupportedError

DIMENSIONS: dict[type[nn.Module], int] = {nn.InstanceNorm1d: 3, nn.InstanceNorm2d: 4, nn.InstanceNorm3d: 5}


def instance_norm(layer: Layer, calls: Sequence[ModuleCall], n: int, sketch: LayerSketch | None) -> Contribution:
    """One scale and shift per channel; statistics of each record, or the running ones if the layer keeps some."""
    module = layer.module
    assert isinstance(module, nn.InstanceNorm1d | nn.InstanceNorm2d | nn.InstanceNorm3d)
    wanted = next(size for kind, size in DIMENSIONS.items() if isinstance(module, kind))
    if any(call.input.dim() != wanted for call in calls):
        raise UnsupportedError("no dimension for records")
    own = module.training or not module.track_running_stats
    mean, var = module.running_mean, module.running_var

    def normalise(x: Tensor) -> Tensor:
        if own or mean is None or var is None:
            return F.instance_norm(x, eps=module.eps)
        return F.instance_norm(x, mean.float(), var.float(), use_input_stats=False, eps=module.eps)

    return affine(layer, calls, n, sketch, normalise, over_channels)
