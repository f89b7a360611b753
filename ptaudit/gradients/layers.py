"""What a layer is: a module that owns trainable parameters."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from fnmatch import fnmatchcase
from typing import Literal

import torch
from torch import nn

from ptaudit.errors import ModelError
from ptaudit.model_input import as_real

ROOT = "(root)"
UNUSED = "unused: receives no gradient"

Capture = Literal["rule", "vmap", "loop", "none"]


@dataclass(frozen=True)
class LayerInfo:
    """How the gradients of one layer are read.

    Attributes:
        name: module path (`(root)` for parameters of the model itself).
        index: place among the trainable layers, in model order.
        type: class name of the module.
        parameters: number of trainable numbers that the layer owns.
        capture: `rule` (hooks), `vmap` (torch.func), `loop` (one backward pass per record) or `none`.
        reason: why it is not captured, or not by a rule; empty where there is nothing to say.
        layout: how a rule finds the records in what the layer is given (see `rules/layout.py`), or in what shape each
            parameter was expanded (see `expand.py`); empty for records in dimension 0.
    """

    name: str
    index: int
    type: str
    parameters: int
    capture: Capture
    reason: str = ""
    layout: str = ""

    @property
    def unused(self) -> bool:
        """Whether the layer is not captured because the loss does not depend on it."""
        return self.capture == "none" and self.reason == UNUSED


@dataclass(frozen=True)
class Layer:
    """A module with the trainable parameters that belong to it, by their name inside the module."""

    name: str
    index: int
    module: nn.Module
    parameters: dict[str, nn.Parameter]

    @property
    def size(self) -> int:
        """Number of trainable numbers."""
        return sum(shape.numel() for shape in self.shapes.values())

    @property
    def shapes(self) -> dict[str, torch.Size]:
        """Shape of each parameter as real numbers: a complex one has two for each entry, in a last dimension."""
        return {name: as_real(parameter).shape for name, parameter in self.parameters.items()}

    @property
    def is_complex(self) -> bool:
        """Whether one of its parameters is."""
        return any(parameter.is_complex() for parameter in self.parameters.values())

    def only(self, parameter: str) -> Layer:
        """The layer as if it owned one of its parameters alone."""
        return replace(self, parameters={parameter: self.parameters[parameter]})

    def path(self, parameter: str) -> str:
        """Name of one of its parameters in the whole model."""
        return parameter if self.name == ROOT else f"{self.name}.{parameter}"


def find_layers(model: nn.Module) -> tuple[Layer, ...]:
    """The trainable layers in model order; a shared parameter belongs to the first module that owns it.

    Raises:
        ModelError: the model has no trainable parameter.
    """
    layers: list[Layer] = []
    seen: set[int] = set()
    for path, module in model.named_modules():
        own = {}
        for name, parameter in module.named_parameters(recurse=False):
            if parameter.requires_grad and id(parameter) not in seen:
                own[name] = parameter
            seen.add(id(parameter))
        if own:
            layers.append(Layer(path or ROOT, len(layers), module, own))
    if not layers:
        raise ModelError(
            "the model has no trainable parameters", remedy="set requires_grad on the parameters that are trained"
        )
    return tuple(layers)


def select(layers: Sequence[Layer], patterns: Sequence[str]) -> frozenset[str]:
    """Names of the layers that match one of the glob patterns, or `all`.

    Raises:
        ModelError: a pattern matches no layer.
    """
    names = [layer.name for layer in layers]
    if patterns == "all":
        return frozenset(names)
    chosen: set[str] = set()
    for pattern in [patterns] if isinstance(patterns, str) else patterns:
        hits = {name for name in names if fnmatchcase(name, pattern)}
        if not hits:
            near = get_close_matches(pattern, names, n=3, cutoff=0.0)
            raise ModelError(
                f"the layer pattern {pattern!r} matches no trainable layer",
                where="audit.layers",
                remedy=f"nearest layers: {', '.join(near)}",
            )
        chosen |= hits
    return frozenset(chosen)
