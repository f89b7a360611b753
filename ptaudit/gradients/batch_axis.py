"""Finds out where the records have to stand when a module's own parameters are expanded."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from ptaudit.gradients.agreement import attempt
from ptaudit.gradients.autograd import parameters_of
from ptaudit.gradients.expand import AXES, WIDEST, fits, layout_of
from ptaudit.gradients.frozen_state import without_gradients
from ptaudit.gradients.hooks import Reading
from ptaudit.gradients.layers import Layer
from ptaudit.gradients.per_example_pass import per_example_pass
from ptaudit.gradients.projection import LayerSketch
from ptaudit.gradients.record_losses import RecordLosses
from ptaudit.gradients.rules.base import Contribution, ModuleCall, with_norms_only
from ptaudit.gradients.rules.expanded import expanded
from ptaudit.gradients.whole_gradients import one_by_one
from ptaudit.model_input import as_real

_Parameter = tuple[Layer, str]


def find_layouts(losses: RecordLosses, layers: Sequence[Layer], tolerance: float) -> dict[str, str]:
    """Layouts of the layers all of whose parameters can be expanded, by layer name.

    A parameter whose gradient is zero on these records shows nothing and is not found.
    """
    small = [layer for layer in layers if layer.size <= WIDEST]
    if not small:
        return {}
    todo = {layer.path(name): (layer, name) for layer in small for name in layer.parameters}
    alone = one_by_one(losses, parameters_of(small)).of
    truth = {path: as_real(g).float() for path, g in alone.items()}
    axes: dict[str, int] = {}
    for axis in AXES:
        rest = [x for path, x in todo.items() if path not in axes and fits(x[0].parameters[x[1]], axis)]
        grads = _gradients(losses, rest, axis)
        axes |= {path: axis for path, grad in grads.items() if _same(grad, truth[path], tolerance)}
    return {
        layer.name: layout_of([axes[layer.path(name)] for name in layer.parameters])
        for layer in small
        if all(layer.path(name) in axes for name in layer.parameters)
    }


def _gradients(losses: RecordLosses, parameters: Sequence[_Parameter], axis: int) -> dict[str, Tensor]:
    """By path; where the model does not take them all in this shape, what it takes one at a time."""
    found = _together(losses, parameters, axis)
    if found is not None:
        return found
    found, refused = {}, set()
    for layer, name in parameters:
        kind = type(layer.module), name
        if kind in refused:  # deep networks have dozens of a kind, and each try is a pass
            continue
        alone = _together(losses, [(layer, name)], axis)
        if alone is None:
            refused.add(kind)
        found |= alone or {}
    return found


def _together(losses: RecordLosses, parameters: Iterable[_Parameter], axis: int) -> dict[str, Tensor] | None:
    """By path; None if the model does not take one of them in this shape."""
    found: dict[str, Tensor] = {}

    def keep(layer: Layer, calls: Sequence[ModuleCall], n: int, sketch: LayerSketch | None) -> Contribution:
        (name,) = layer.parameters
        shape = layer.shapes[name]
        found[layer.path(name)] = torch.stack([as_real(call.grad).reshape(n, *shape) for call in calls]).sum(0)
        return expanded(layer, calls, n, sketch)

    readings = [Reading(layer.only(name), with_norms_only(keep), None, {name: axis}) for layer, name in parameters]
    with without_gradients(losses.model):
        one_pass = attempt(lambda: per_example_pass(losses, readings))
    return None if one_pass is None else found


def _same(grad: Tensor, truth: Tensor, tolerance: float) -> bool:
    size = float(truth.norm())
    return size > 0 and float((grad.float() - truth).norm()) <= tolerance * size
