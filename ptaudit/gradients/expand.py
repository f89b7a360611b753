"""Parameters of a module's own making: given to the model once per record, where it broadcasts them.

A class token, a position embedding, a layer scale (n records of x times a scale) mean the same when the parameter has
a dimension of records in front; autograd then leaves one gradient per record, at the cost of one more copy of it. How
many dimensions of size one must stand between is tried out, and the result proven like any other.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from ptaudit.gradients.hooks import Tap
from ptaudit.gradients.layers import Layer
from ptaudit.gradients.rules.expanded import Expanded

WIDEST = 1 << 18
"""Numbers of a layer above which a copy per record costs more than it saves."""

INSTEAD = -1
"""The records take the place of a first dimension of size one, as in a (1, length, width) position embedding."""

PLACES = (INSTEAD, 0, 1, 2, 3)
PREFIX = "expanded per record: "


def layout_of(places: Sequence[int]) -> str:
    """The layout of a layer: for each of its parameters, dimensions of size one between records and shape."""
    return PREFIX + " ".join(map(str, places))


def places_of(layer: Layer, layout: str) -> dict[str, int] | None:
    """By parameter name; None for another layout."""
    if not layout.startswith(PREFIX):
        return None
    return dict(zip(layer.parameters, map(int, layout.removeprefix(PREFIX).split())))


def fits(parameter: Tensor, place: int) -> bool:
    """Whether a parameter can be expanded in that way."""
    return place != INSTEAD or (parameter.dim() > 1 and parameter.shape[0] == 1)


@contextmanager
def expanding(taps: Sequence[Tap], n: int) -> Iterator[None]:
    """The model sees the parameters of these layers once per record of n inside the block."""
    kept: list[tuple[nn.Module, str, nn.Parameter]] = []
    try:
        for tap in taps:
            for name, place in (tap.reading.places or {}).items():
                parameter = tap.layer.parameters[name]
                kept.append((tap.layer.module, name, parameter))
                fields: dict[str, Any] = tap.layer.module._parameters
                fields[name] = _per_record(tap, name, parameter, place, n)
        yield
    finally:
        for module, name, parameter in kept:
            module._parameters[name] = parameter


def _per_record(tap: Tap, name: str, parameter: Tensor, place: int, n: int) -> Tensor:
    inner = parameter.shape[1:] if place == INSTEAD else (*[1] * place, *parameter.shape)
    with torch.enable_grad():
        wide = parameter.reshape(1, *inner).expand(n, *inner)
        return tap.use(wide, lambda grad: Expanded(grad, grad, parameter=name))
