"""Normalisation layers: gradients of their scale and shift are small, so they are built.

nn.BatchNorm1d, 2d and 3d with frozen statistics, in which no record touches another (in training mode a record's part
of the gradient is defined too, but only for the very batch that it was in); nn.GroupNorm; nn.InstanceNorm1d, 2d and 3d;
nn.LayerNorm; nn.RMSNorm (Zhang and Sennrich, arXiv 1910.07467).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ptaudit.gradients.layers import Layer
from ptaudit.gradients.projection import LayerSketch
from ptaudit.gradients.rules.base import Contribution, ModuleCall, UnsupportedError, by_record, from_gradients

_DIMENSIONS: dict[type[nn.Module], int] = {nn.InstanceNorm1d: 3, nn.InstanceNorm2d: 4, nn.InstanceNorm3d: 5}

Moments = tuple[Tensor, Tensor]
"""Mean and reciprocal standard deviation."""


def batch_norm(layer: Layer, calls: Sequence[ModuleCall], n: int, sketch: LayerSketch | None) -> Contribution:
    """One scale and shift per channel; records are read in eval mode, so the running statistics are used."""
    module = layer.module
    assert isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d | nn.BatchNorm3d)
    mean, var = module.running_mean, module.running_var
    if mean is None or var is None:
        raise UnsupportedError("it normalises by the statistics of the batch")
    normals = (F.batch_norm(call.input.float(), mean.float(), var.float(), eps=module.eps) for call in calls)
    return from_gradients(_affine(layer, calls, n, normals, over_channels), sketch)


def batch_norm_tokens(layer: Layer, calls: Sequence[ModuleCall], n: int, sketch: LayerSketch) -> Tensor:
    """From two sums over positions, with the statistics that the forward pass normalised by."""
    module = layer.module
    assert isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d | nn.BatchNorm3d)

    def moments(call: ModuleCall) -> Moments:
        mean, var = module.running_mean, module.running_var
        if module.training or mean is None or var is None:
            return call.moments or _moments(call.input.float(), [0, *range(2, call.input.dim())], module.eps)
        return mean.float(), (var.float() + module.eps).rsqrt()

    return _channel_tokens(layer, calls, n, sketch, moments)


def group_norm(layer: Layer, calls: Sequence[ModuleCall], n: int, sketch: LayerSketch | None) -> Contribution:
    """One scale and shift per channel."""
    module = layer.module
    assert isinstance(module, nn.GroupNorm)
    normals = (F.group_norm(call.input.float(), module.num_groups, eps=module.eps) for call in calls)
    return from_gradients(_affine(layer, calls, n, normals, over_channels), sketch)


def group_norm_tokens(layer: Layer, calls: Sequence[ModuleCall], n: int, sketch: LayerSketch) -> Tensor:
    """From two sums over positions; mean and spread of the groups are those of the forward pass where it kept them."""
    module = layer.module
    assert isinstance(module, nn.GroupNorm)

    def grouped(x: Tensor) -> Tensor:
        return x.reshape(len(x), module.num_groups, -1)

    def moments(call: ModuleCall) -> Moments:
        mean, rstd = call.moments or _moments(grouped(call.input.float()), [2], module.eps)
        each = module.num_channels // module.num_groups
        return mean.repeat_interleave(each, 1), rstd.repeat_interleave(each, 1)

    return _channel_tokens(layer, calls, n, sketch, moments)


def instance_norm(layer: Layer, calls: Sequence[ModuleCall], n: int, sketch: LayerSketch | None) -> Contribution:
    """One scale and shift per channel; statistics of each record, or the running ones if the layer keeps some."""
    module = layer.module
    assert isinstance(module, nn.InstanceNorm1d | nn.InstanceNorm2d | nn.InstanceNorm3d)
    wanted = next(size for kind, size in _DIMENSIONS.items() if isinstance(module, kind))
    if any(call.input.dim() != wanted for call in calls):
        raise UnsupportedError("no dimension for records")
    own = module.training or not module.track_running_stats
    mean, var = module.running_mean, module.running_var

    def normalise(x: Tensor) -> Tensor:
        if own or mean is None or var is None:
            return F.instance_norm(x, eps=module.eps)
        return F.instance_norm(x, mean.float(), var.float(), use_input_stats=False, eps=module.eps)

    return from_gradients(
        _affine(layer, calls, n, map(normalise, (call.input.float() for call in calls)), over_channels), sketch
    )


def layer_norm(layer: Layer, calls: Sequence[ModuleCall], n: int, sketch: LayerSketch | None) -> Contribution:
    """Scale and shift have the normalised shape; positions before it are summed."""
    module = layer.module
    assert isinstance(module, nn.LayerNorm)
    shape = _checked(module.normalized_shape, calls)
    normals = (F.layer_norm(call.input.float(), shape, eps=module.eps) for call in calls)
    return from_gradients(_affine(layer, calls, n, normals, lambda x: _over_positions(x, shape)), sketch)


def layer_norm_tokens(layer: Layer, calls: Sequence[ModuleCall], n: int, sketch: LayerSketch) -> Tensor:
    """Normalises with the moments of the forward pass where it kept them, in one temporary."""
    module = layer.module
    assert isinstance(module, nn.LayerNorm)
    shape = _checked(module.normalized_shape, calls)
    dims = list(range(-len(shape), 0))
    weights, biases = [], []
    for call in calls:
        g = call.grad.float()
        biases.append(_over_positions(g, shape))
        if "weight" in layer.parameters:
            mean, rstd = call.moments or _moments(call.input.float(), dims, module.eps, keepdim=True)
            weights.append(_over_positions((call.input - mean).mul_(rstd).mul_(g), shape))
    parts = {"weight": weights, "bias": biases}
    return sketch({name: _total(parts[name], n) for name in layer.parameters})


def rms_norm(layer: Layer, calls: Sequence[ModuleCall], n: int, sketch: LayerSketch | None) -> Contribution:
    """The scale has the normalised shape; positions before it are summed."""
    module = layer.module
    assert isinstance(module, nn.RMSNorm)
    shape = _checked(module.normalized_shape, calls)
    eps = torch.finfo(calls[0].input.dtype).eps if module.eps is None else module.eps
    normals = (F.rms_norm(call.input.float(), shape, eps=eps) for call in calls)
    return from_gradients(_affine(layer, calls, n, normals, lambda x: _over_positions(x, shape)), sketch)


def over_channels(x: Tensor) -> Tensor:
    """Sums (rows, channels, ...) to (rows, channels)."""
    return x.reshape(*x.shape[:2], -1).sum(2)


def _over_positions(x: Tensor, shape: Sequence[int]) -> Tensor:
    """Sums (rows, ..., *shape) to (rows, *shape)."""
    return x.reshape(x.shape[0], -1, *shape).sum(1)


def _checked(shape: Sequence[int], calls: Sequence[ModuleCall]) -> list[int]:
    """The normalised shape."""
    if any(call.input.dim() <= len(shape) for call in calls):
        raise UnsupportedError("no dimension for records")
    return list(shape)


def _affine(
    layer: Layer,
    calls: Sequence[ModuleCall],
    n: int,
    normals: Iterable[Tensor],
    reduce: Callable[[Tensor], Tensor],
) -> dict[str, Tensor]:
    """Gradients of `normal * weight + bias`, of a layer that may own only one of weight and bias.

    `normals` are the inputs of the calls after the layer without scale and shift, made when they are asked for;
    `reduce` sums (rows, ...) over what shares a parameter, to (rows, *parameter shape).
    """
    grads: dict[str, Tensor] = {}
    if "weight" in layer.parameters:
        grads["weight"] = _total([reduce(call.grad.float() * normal) for call, normal in zip(calls, normals)], n)
    if "bias" in layer.parameters:
        grads["bias"] = _total([reduce(call.grad.float()) for call in calls], n)
    return grads


def _channel_tokens(
    layer: Layer,
    calls: Sequence[ModuleCall],
    n: int,
    sketch: LayerSketch,
    moments: Callable[[ModuleCall], Moments],
) -> Tensor:
    """Tokens of one scale and shift per channel without building the normalised input (rows, channels, ...).

    sum(g * (x - mean) * rstd) = (sum(g * x) - mean * sum(g)) * rstd, so that two sums over positions are all that is
    needed. In float32 it loses as many digits as |mean| / std has. `moments` are those of a call's input, each
    (rows, channels) or (channels,).
    """
    weights, biases = [], []
    for call in calls:
        g = call.grad.flatten(2) if call.grad.dim() > 2 else call.grad.unsqueeze(2)
        g, x = g.float(), call.input.reshape(g.shape).float()
        shift = g.sum(2)
        biases.append(shift)
        if "weight" in layer.parameters:
            mean, rstd = moments(call)
            weights.append((torch.linalg.vecdot(g, x) - mean * shift) * rstd)
    parts = {"weight": weights, "bias": biases}
    return sketch({name: _total(parts[name], n) for name in layer.parameters})


def _total(parts: Sequence[Tensor], n: int) -> Tensor:
    """Sum over calls and over the rows of a record: (n, *parameter shape)."""
    summed = [part if len(part) == n else by_record(part, n).sum(1) for part in parts]
    return summed[0] if len(summed) == 1 else torch.stack(summed).sum(0)


def _moments(x: Tensor, dims: Sequence[int], eps: float, keepdim: bool = False) -> Moments:
    """Over some dimensions."""
    var, mean = torch.var_mean(x, dim=list(dims), correction=0, keepdim=keepdim)
    return mean, (var + eps).rsqrt()
