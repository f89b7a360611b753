"""nn.ConvTranspose1d, 2d and 3d: the gradient of the convolution that runs the other way.

The weight (in, out / groups, kernel) is that of a convolution from the layer's output to its input, so its gradient is
a convolution's, with the output gradient in the place of the input and the input in the place of the output gradient.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ptaudit.gradients.layers import Layer
from ptaudit.gradients.projection import LayerSketch, MatrixBlock
from ptaudit.gradients.rules.base import Contribution, ModuleCall, by_record, ghost_is_cheaper, ghost_norm_sq, pieces
from ptaudit.gradients.rules.conv import bias_gradient, by_group, check_dimensions, unfold

Transposed = nn.ConvTranspose1d | nn.ConvTranspose2d | nn.ConvTranspose3d


def conv_transpose(layer: Layer, calls: Sequence[ModuleCall], n: int, sketch: LayerSketch | None) -> Contribution:
    """Weight and bias have norms of their own, as the bias is a column of another matrix than the weight's."""
    module = _checked(layer, calls)
    norm_sq = torch.zeros(n, device=module.weight.device)
    if "bias" in layer.parameters:
        norm_sq = norm_sq + bias_gradient(calls, n).square().sum(1)
    if "weight" in layer.parameters:
        norm_sq = norm_sq + _norm_sq(module, _swapped(module, calls, n), n)
    return None if sketch is None else conv_transpose_tokens(layer, calls, n, sketch), norm_sq


def conv_transpose_tokens(layer: Layer, calls: Sequence[ModuleCall], n: int, sketch: LayerSketch) -> Tensor:
    """Tokens (n, dim): a small convolution of the output gradient times the projected input."""
    module = _checked(layer, calls)
    grads = {"bias": bias_gradient(calls, n)} if "bias" in layer.parameters else {}
    total = torch.zeros(n, sketch.dim, device=module.weight.device)
    for block, span in sketch.spans():
        if not isinstance(block, MatrixBlock):
            total[:, span] += block(grads)
            continue
        for call in _swapped(module, calls, n):
            total[:, span] += _product(module, call, block)
        if block.bias is not None and block.corner is not None:
            total[:, span] += ((grads["bias"] @ block.left.T).unsqueeze(2) * block.corner).flatten(1)
    return total


def _checked(layer: Layer, calls: Sequence[ModuleCall]) -> Transposed:
    module = layer.module
    assert isinstance(module, Transposed)
    check_dimensions(module, calls)
    return module


def _swapped(module: Transposed, calls: Sequence[ModuleCall], n: int) -> list[ModuleCall]:
    """Padded output gradient as input, input as output gradient; both (n, rows of a record, channels, ...)."""
    assert isinstance(module.padding, tuple)
    sides = [p for side in reversed(module.padding) for p in (side, side)]
    return [
        replace(call, input=by_record(F.pad(call.grad.float(), sides), n), grad=by_record(call.input.float(), n))
        for call in calls
    ]


def _product(module: Transposed, call: ModuleCall, block: MatrixBlock) -> Tensor:
    """The same right projection for all groups, summed over groups and positions: (n, side * side)."""
    n, rows = call.grad.shape[:2]
    sides, groups = (len(block.right), len(block.left)), module.groups
    kernel = block.right.reshape(sides[0], *module.weight.shape[1:]).repeat(groups, *[1] * (module.weight.dim() - 1))
    left = block.left.view(sides[1], groups, -1).transpose(0, 1).reshape(groups * sides[1], -1, 1)
    convolve = (F.conv1d, F.conv2d, F.conv3d)[module.weight.dim() - 3]
    small = convolve(call.input.flatten(0, 1), kernel, None, module.stride, 0, module.dilation, groups)
    for dim, size in enumerate(call.grad.shape[3:], start=2):
        small = small.narrow(dim, 0, size)  # output_padding may have added positions
    right, grad = small.flatten(2), F.conv1d(call.grad.flatten(0, 1).flatten(2), left, groups=groups)
    a, g = (x.reshape(n, rows * groups, side, -1).transpose(1, 2).flatten(2) for x, side in zip((right, grad), sides))
    return (g @ a.mT).flatten(1)


def _norm_sq(module: Transposed, calls: Sequence[ModuleCall], n: int) -> Tensor:
    positions = sum(call.grad[0, :, 0].numel() for call in calls)
    rows, columns = module.in_channels // module.groups, module.weight[0].numel()
    ghost = ghost_is_cheaper(positions, rows, columns)
    norms = []
    for s in pieces(n, max(module.groups * (columns * positions + positions**2 * ghost), module.weight.numel())):
        a = torch.cat([unfold(module, call, s) for call in calls], dim=2)
        g = torch.cat([by_group(module, call.grad[s].flatten(3)) for call in calls], dim=2)
        squares = ghost_norm_sq(a, g, False) if ghost else (g @ a.mT).square().sum((1, 2))
        norms.append(squares.view(-1, module.groups).sum(1))
    return torch.cat(norms)
