"""Parameters of a module's own making: given to the model once per record, where it broadcasts them.

A class token, a position embedding, a layer scale (n records of x times a scale) mean the same when the parameter has
a dimension of records in front; autograd then leaves one gradient per record, at the cost of one more copy of it. How
many dimensions of size one must stand between is tried out, and the result checked like any other.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from ptaudit.gradients.hooks import LayerHook
from ptaudit.gradients.layers import Layer
from ptaudit.gradients.rules.expanded import expanded_call

WIDEST = 1 << 18
"""Numbers of a layer above which a copy per record costs more than it saves."""

INSTEAD = -1
"""The records take the place of a first dimension of size one, as in a (1, length, width) position embedding."""

AXES = (INSTEAD, 0, 1, 2, 3)
PREFIX = "expanded per record: "


def layout_of(axes: Sequence[int]) -> str:
    """The layout of a layer: for each of its parameters, dimensions of size one between records and shape."""
    return PREFIX + " ".join(map(str, axes))


def axes_of(layer: Layer, layout: str) -> dict[str, int] | None:
    """By parameter name; None for another layout."""
    if not layout.startswith(PREFIX):
        return None
    return dict(zip(layer.parameters, map(int, layout.removeprefix(PREFIX).split())))


def fits(parameter: Tensor, axis: int) -> bool:
    """Whether a parameter can be expanded in that way."""
    return axis != INSTEAD or (parameter.dim() > 1 and parameter.shape[0] == 1)


@contextmanager
def expanding(hooks: Sequence[LayerHook], n: int) -> Iterator[None]:
    """The model sees the parameters of these layers once per record of n inside the block."""
    kept: list[tuple[nn.Module, str, nn.Parameter]] = []
    try:
        for hook in hooks:
            for name, axis in (hook.reading.axes or {}).items():
                parameter = hook.layer.parameters[name]
                kept.append((hook.layer.module, name, parameter))
                fields: dict[str, Any] = hook.layer.module._parameters
                with torch.enable_grad():
                    fields[name] = hook.note(_wide(parameter, axis, n), partial(expanded_call, name))
        yield
    finally:
        for module, name, parameter in kept:
            module._parameters[name] = parameter


def _wide(parameter: Tensor, axis: int, n: int) -> Tensor:
    inner = parameter.shape[1:] if axis == INSTEAD else (*[1] * axis, *parameter.shape)
    return parameter.reshape(1, *inner).expand(n, *inner)
