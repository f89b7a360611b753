"""Parameters that were given to the model once per record: their gradients come as they are wanted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ptaudit.gradients.layers import Layer
from ptaudit.gradients.projection import LayerSketch
from ptaudit.gradients.rules.base import Contribution, UnsupportedError, Use, by_record, from_gradients
from ptaudit.training.batch import as_real


@dataclass(frozen=True)
class Expanded(Use):
    """One parameter of the layer, expanded to (records, ...).

    Attributes:
        parameter: its name; `grad` has the numbers of (records, *shape).
    """

    parameter: str = ""


def expanded(layer: Layer, uses: Sequence[Use], n: int, sketch: LayerSketch | None) -> Contribution:
    """Gradients as they are; a parameter whose gradient never arrived counts as zero."""
    grads = {name: torch.zeros(n, *shape, device=uses[0].grad.device) for name, shape in layer.shapes.items()}
    for use in uses:
        if not isinstance(use, Expanded):
            raise UnsupportedError("a use of the module, not of its parameters")
        add_expanded(grads, use, n)
    return from_gradients(grads, sketch)


def add_expanded(grads: dict[str, Tensor], use: Expanded, n: int) -> None:
    """Adds one use to the gradients by parameter name."""
    shape = grads[use.parameter].shape
    grads[use.parameter] += by_record(as_real(use.grad).float(), n).sum(1).reshape(shape)
