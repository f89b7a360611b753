"""nn.Conv1d, nn.Conv2d and nn.Conv3d: any groups, stride, dilation and padding.

Where the Gram matrices over positions are cheaper than the gradient (deep layers, small images), the right projection
is itself a small convolution, so that tokens need no unfolded input; only the norm does. Where the gradient is cheaper
(large images), token and norm are both taken from it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ptaudit.gradients.layers import Layer
from ptaudit.gradients.projection import LayerSketch
from ptaudit.gradients.rules.base import (
    Contribution,
    ModuleCall,
    UnsupportedError,
    by_record,
    from_gradients,
    ghost_is_cheaper,
    ghost_norm_sq,
    pieces,
)

Conv = nn.Conv1d | nn.Conv2d | nn.Conv3d
Convolving = nn.modules.conv._ConvNd
"""What transposed convolutions are too."""


def conv(layer: Layer, calls: Sequence[ModuleCall], n: int, sketch: LayerSketch | None) -> Contribution:
    """The gradient of a group is (out/groups, in/groups * kernel); the right projection is the same for all groups."""
    module = layer.module
    assert isinstance(module, Conv)
    check_dimensions(module, calls)
    if "weight" not in layer.parameters:
        return from_gradients({"bias": bias_gradient(calls, n)}, sketch)
    bias = "bias" in layer.parameters
    padded = [
        ModuleCall(by_record(_pad(module, call.input.float()), n), by_record(call.grad.float(), n)) for call in calls
    ]
    positions = sum(call.grad[0, :, 0].numel() for call in padded)
    rows, columns = module.out_channels // module.groups, module.weight[0].numel()
    unfolded = module.groups * columns * positions
    if ghost_is_cheaper(positions, rows, columns):
        numbers = max(unfolded, module.groups * positions**2)
        norms = [_ghost(module, padded, s, bias) for s in pieces(n, numbers)]
        return None if sketch is None else conv_tokens(layer, calls, n, sketch), torch.cat(norms)
    numbers = max(unfolded, module.weight.numel())
    parts = [from_gradients(_gradients(module, padded, s, bias), sketch) for s in pieces(n, numbers)]
    tokens = [token for token, _ in parts if token is not None]
    return torch.cat(tokens) if tokens else None, torch.cat([norm_sq for _, norm_sq in parts])


def conv_tokens(layer: Layer, calls: Sequence[ModuleCall], n: int, sketch: LayerSketch) -> Tensor:
    """Small convolution of the input times projected output gradient, summed over groups and positions."""
    module = layer.module
    assert isinstance(module, Conv)
    check_dimensions(module, calls)
    if "weight" not in layer.parameters:
        return sketch({"bias": bias_gradient(calls, n)})
    return torch.stack([_token(module, call.input.float(), call.grad.float(), n, sketch) for call in calls]).sum(0)


def _token(module: Conv, x: Tensor, grad: Tensor, n: int, sketch: LayerSketch) -> Tensor:
    """Tokens (n, dim) of one use: rows x (rows, in, ...) and gradients (rows, out, ...)."""
    groups, block = module.groups, sketch.matrix()
    small = by_record(_small(module, x, sketch).flatten(2), n)  # (n, rows, groups * columns, positions)
    g = by_record(_projected(block.left, grad.flatten(2), groups), n)
    if small.shape[1] * groups == 1:
        return torch.bmm(g[:, 0], small[:, 0].mT).flatten(1)
    left, right = (
        part.reshape(-1, len(side), part.shape[-1]) for part, side in ((g, block.left), (small, block.right))
    )
    return torch.bmm(left, right.mT).view(n, -1, len(block.left) * len(block.right)).sum(1)


def _small(module: Conv, x: Tensor, sketch: LayerSketch) -> Tensor:
    """The right projection of all patches, as a convolution to `side` channels per group; the bias is its corner."""
    block, groups = sketch.matrix(), module.groups
    side = len(block.right)
    if block.factors is not None and groups == 1:
        on_channels, on_positions = block.factors
        x = _projected(on_channels, x.flatten(2), 1).view(len(x), side, *x.shape[2:])
        return _convolved(module, x, on_positions.view(side, 1, *module.kernel_size), block.corner, side)
    kernel, corner = block.right.reshape(side, *module.weight.shape[1:]), block.corner
    if groups > 1:
        kernel = kernel.repeat(groups, *[1] * (kernel.dim() - 1))
        corner = None if corner is None else corner.repeat(groups)
    return _convolved(module, x, kernel, corner, groups)


def _convolved(module: Conv, x: Tensor, kernel: Tensor, bias: Tensor | None, groups: int) -> Tensor:
    """Another kernel over the very patches that the module sees."""
    convolve = (F.conv1d, F.conv2d, F.conv3d)[module.weight.dim() - 3]
    if module.padding_mode == "zeros":
        return convolve(x, kernel, bias, module.stride, module.padding, module.dilation, groups)
    return convolve(_pad(module, x), kernel, bias, module.stride, 0, module.dilation, groups)


def _projected(left: Tensor, grad: Tensor, groups: int) -> Tensor:
    """(side, out) by (rows, out, positions) to (rows, groups * side, positions), each group by its part of `left`."""
    if groups == 1:
        return torch.bmm(left.expand(len(grad), *left.shape), grad)
    by_group = left.view(len(left), groups, -1).transpose(0, 1).reshape(groups * len(left), -1, 1)
    return F.conv1d(grad, by_group, groups=groups)


def _ghost(module: Conv, calls: Sequence[ModuleCall], s: slice, bias: bool) -> Tensor:
    a = torch.cat([unfold(module, call, s) for call in calls], dim=2)
    g = torch.cat([by_group(module, call.grad[s].flatten(3)) for call in calls], dim=2)
    return ghost_norm_sq(a, g, bias).view(-1, module.groups).sum(1)


def _gradients(module: Conv, calls: Sequence[ModuleCall], s: slice, bias: bool) -> dict[str, Tensor]:
    grads = [by_group(module, call.grad[s].flatten(3)) for call in calls]
    products = [g @ unfold(module, call, s).mT for call, g in zip(calls, grads)]
    weight = torch.stack(products).sum(0) if len(products) > 1 else products[0]
    result = {"weight": weight.view(-1, *module.weight.shape)}
    if bias:
        result["bias"] = torch.cat(grads, dim=2).sum(2).view(-1, module.out_channels)
    return result


def check_dimensions(module: Convolving, calls: Sequence[ModuleCall]) -> None:
    """Raises UnsupportedError for an input without records."""
    if any(call.input.dim() != module.weight.dim() for call in calls):
        raise UnsupportedError("no dimension for records")


def bias_gradient(calls: Sequence[ModuleCall], n: int) -> Tensor:
    """(n, channels)."""
    return torch.stack([by_record(call.grad.float().flatten(2).sum(2), n).sum(1) for call in calls]).sum(0)


def by_group(module: Convolving, x: Tensor) -> Tensor:
    """(n, rows, channels, positions) as (n * groups, channels / groups, rows * positions)."""
    n, rows, channels, positions = x.shape
    grouped = x.reshape(n, rows, module.groups, channels // module.groups, positions)
    return grouped.permute(0, 2, 3, 1, 4).reshape(n * module.groups, channels // module.groups, rows * positions)


def unfold(module: Convolving, call: ModuleCall, s: slice) -> Tensor:
    """Patches of the padded input: (n * groups, in / groups * kernel, rows * positions)."""
    x = call.input[s].contiguous()
    spatial = x.stride()[3:]
    size = (*x.shape[:3], *module.kernel_size, *call.grad.shape[3:])
    window = [d * step for d, step in zip(module.dilation, spatial)]
    stride = (*x.stride()[:3], *window, *[jump * step for jump, step in zip(module.stride, spatial)])
    patches = x.as_strided(size, stride, x.storage_offset())
    channels = x.shape[2] * math.prod(module.kernel_size)
    return by_group(module, patches.reshape(*x.shape[:2], channels, -1))


def _pad(module: Conv, x: Tensor) -> Tensor:
    """The input as the convolution sees it, with its own kind of padding."""
    if module.padding == "same":
        totals = [d * (k - 1) for d, k in zip(module.dilation, module.kernel_size)]
        sides = [(total // 2, total - total // 2) for total in totals]
    elif isinstance(module.padding, str):
        sides = [(0, 0) for _ in module.kernel_size]
    else:
        sides = [(p, p) for p in module.padding]
    if not any(map(any, sides)):
        return x
    mode = "constant" if module.padding_mode == "zeros" else module.padding_mode
    return F.pad(x, [p for side in reversed(sides) for p in side], mode)
