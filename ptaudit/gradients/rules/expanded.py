"""Parameters that were given to the model once per record: their gradients come as they are wanted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ptaudit.gradients.layers import Layer
from ptaudit.gradients.projection import LayerSketch
from ptaudit.gradients.rules.base import (
    Contribution,
    ModuleCall,
    UnsupportedError,
    by_record,
    from_gradients,
    with_norms_only,
)
from ptaudit.model_input import as_real


@dataclass(frozen=True)
class Expanded(ModuleCall):
    """One parameter of the layer, expanded to (records, ...).

    Attributes:
        parameter: its name; `grad` has the numbers of (records, *shape).
    """

    parameter: str = ""


def expanded_call(parameter: str, grad: Tensor) -> Expanded:
    """The call of a parameter, once the gradient of what the model was given is known."""
    return Expanded(grad, grad, parameter=parameter)


def expanded(layer: Layer, calls: Sequence[ModuleCall], n: int, sketch: LayerSketch | None) -> Contribution:
    """Gradients as they are; a parameter whose gradient never arrived counts as zero."""
    grads = {name: torch.zeros(n, *shape, device=calls[0].grad.device) for name, shape in layer.shapes.items()}
    for call in calls:
        if not isinstance(call, Expanded):
            raise UnsupportedError("a use of the module, not of its parameters")
        add_expanded(grads, call, n)
    return from_gradients(grads, sketch)


def add_expanded(grads: dict[str, Tensor], call: Expanded, n: int) -> None:
    """Adds one call to the gradients by parameter name."""
    shape = grads[call.parameter].shape
    grads[call.parameter] += by_record(as_real(call.grad).float(), n).sum(1).reshape(shape)


EXPANDED = with_norms_only(expanded)
"""How a layer is read all of whose parameters are given to the model once per record."""
