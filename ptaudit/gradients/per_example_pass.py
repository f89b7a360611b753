"""One forward and backward pass for many records, with the rules at work while gradients flow."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field

from torch import Tensor

from ptaudit.gradients.agreement import HALF
from ptaudit.gradients.autograd import differentiate
from ptaudit.gradients.expand import axes_of, expanding
from ptaudit.gradients.hooks import LayerHook, Reading
from ptaudit.gradients.layers import Layer
from ptaudit.gradients.linear_calls import watching
from ptaudit.gradients.projection import LayerSketch
from ptaudit.gradients.record_losses import RecordLosses
from ptaudit.gradients.rules import rule_for
from ptaudit.gradients.rules.base import Contribution
from ptaudit.gradients.rules.expanded import EXPANDED
from ptaudit.gradients.rules.layout import SHARED


@dataclass(frozen=True)
class PerExamplePass:
    """What one pass gave.

    Attributes:
        loss: (n,) float32.
        summed: gradient of the summed loss by path of every parameter that asked for one; None where it is unused.
        found: by layer name, its contribution; no entry where no gradient reached the layer.
        failed: by layer name, why its rule does not apply.
        half: whether gradients of reduced precision were seen.
    """

    loss: Tensor
    summed: Mapping[str, Tensor | None] = field(repr=False)
    found: Mapping[str, Contribution]
    failed: Mapping[str, str]
    half: bool


def reading_of(layer: Layer, layout: str, sketch: LayerSketch | None) -> Reading | None:
    """How the layer is read in that layout, or None if no rule is for it."""
    axes = axes_of(layer, layout)
    if axes is not None:
        return Reading(layer, EXPANDED, sketch, axes)
    rule = None if layer.is_complex else rule_for(layer.module, layout)
    return None if rule is None else Reading(layer, rule, sketch, shared=layout == SHARED)


def per_example_pass(losses: RecordLosses, readings: Sequence[Reading]) -> PerExamplePass:
    """Reads the layers on one chunk of records; the model must be in the mode it is to be read in.

    From the same pass comes the gradient of the summed loss; inside `without_gradients` the backward pass is spared it.
    The hooks are tensor hooks on what modules return, which unlike module backward hooks live with in-place operations
    on it.

    Raises:
        ModelError: the loss does not return one number per record.
    """
    model = losses.model
    roots: list[Tensor] = []
    hooks = [LayerHook(reading, len(losses), roots) for reading in readings]
    own = {path: parameter for path, parameter in model.named_parameters() if parameter.requires_grad}
    with ExitStack() as stack:
        stack.enter_context(watching(model, hooks))
        stack.enter_context(expanding(hooks, len(losses)))
        for hook in hooks:
            if hook.reading.axes is None:
                hook.attach(stack)
        each = losses()
        summed = differentiate(each, model, own, roots)
    for hook in hooks:
        hook.finish()
    found = {hook.layer.name: hook.result for hook in hooks if hook.result is not None}
    failed = {hook.layer.name: hook.failure for hook in hooks if hook.failure}
    half = each.dtype in HALF or any(hook.half for hook in hooks)
    return PerExamplePass(each.detach().float(), summed, found, failed, half)
