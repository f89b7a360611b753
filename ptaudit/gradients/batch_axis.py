"""Finds out where the records have to stand when a module's own parameters are expanded."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ptaudit.gradients.expand import PLACES, WIDEST, fits, layout_of
from ptaudit.gradients.fallback import dense, one_by_one
from ptaudit.gradients.hooks import Reading
from ptaudit.gradients.layers import Layer
from ptaudit.gradients.per_example_pass import PerRecordLoss, sweep
from ptaudit.gradients.projection import LayerSketch
from ptaudit.gradients.rules.base import Contribution, Use
from ptaudit.gradients.rules.expanded import expanded
from ptaudit.training.batch import Inputs, as_real


def find_layouts(
    model: nn.Module, loss: PerRecordLoss, layers: Sequence[Layer], inputs: Inputs, targets: Tensor, tolerance: float
) -> dict[str, str]:
    """Layouts of the layers all of whose parameters can be expanded, by layer name.

    A parameter whose gradient is zero on these records shows nothing and is not found.
    """
    small = [layer for layer in layers if layer.size <= WIDEST]
    if not small:
        return {}
    rows = [dense(small, grads) for grads in one_by_one(model, loss, small, inputs, targets)]
    todo = {layer.path(name): (layer, name) for layer in small for name in layer.parameters}
    truth = {path: torch.stack([row[path] for row in rows]).float() for path in todo}
    places: dict[str, int] = {}
    for place in PLACES:
        rest = {p: x for p, x in todo.items() if p not in places and fits(x[0].parameters[x[1]], place)}
        grads = _gradients(model, loss, rest, place, inputs, targets)
        places |= {path: place for path, grad in grads.items() if _same(grad, truth[path], tolerance)}
    return {
        layer.name: layout_of([places[layer.path(name)] for name in layer.parameters])
        for layer in small
        if all(layer.path(name) in places for name in layer.parameters)
    }


def _gradients(
    model: nn.Module,
    loss: PerRecordLoss,
    parameters: dict[str, tuple[Layer, str]],
    place: int,
    inputs: Inputs,
    targets: Tensor,
) -> dict[str, Tensor]:
    """By path; where the model does not take them all in this shape, what it takes one at a time."""
    found = _together(model, loss, list(parameters.values()), place, inputs, targets)
    if found is not None:
        return found
    found, refused = {}, set()
    for layer, name in parameters.values():
        kind = type(layer.module), name
        if kind in refused:  # deep networks have dozens of a kind, and each trial is a pass
            continue
        alone = _together(model, loss, [(layer, name)], place, inputs, targets)
        if alone is None:
            refused.add(kind)
        found |= alone or {}
    return found


def _together(
    model: nn.Module,
    loss: PerRecordLoss,
    parameters: Sequence[tuple[Layer, str]],
    place: int,
    inputs: Inputs,
    targets: Tensor,
) -> dict[str, Tensor] | None:
    """By path; None if the model does not take one of them in this shape."""
    found: dict[str, Tensor] = {}

    def keep(layer: Layer, uses: Sequence[Use], n: int, sketch: LayerSketch | None) -> Contribution:
        (name,) = layer.parameters
        shape = layer.shapes[name]
        found[layer.path(name)] = torch.stack([as_real(use.grad).reshape(n, *shape) for use in uses]).sum(0)
        return expanded(layer, uses, n, sketch)

    readings = [
        Reading(Layer(layer.name, layer.index, layer.module, {name: layer.parameters[name]}), keep, None, {name: place})
        for layer, name in parameters
    ]
    try:
        sweep(model, loss, readings, inputs, targets)
    except torch.OutOfMemoryError:
        raise
    except Exception:  # whatever an operation raises that is given another shape than it expects
        return None
    return found


def _same(grad: Tensor, truth: Tensor, tolerance: float) -> bool:
    size = float(truth.norm())
    return size > 0 and float((grad.float() - truth).norm()) <= tolerance * size
