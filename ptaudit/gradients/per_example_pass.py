"""One forward and backward pass for many records, with the rules at work while gradients flow."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.autograd.graph import Node

from ptaudit.errors import ModelError
from ptaudit.gradients.expand import expanding, places_of
from ptaudit.gradients.frozen_state import grads_aside, without_gradients
from ptaudit.gradients.functional import watching
from ptaudit.gradients.hooks import HALF, Reading, Tap
from ptaudit.gradients.layers import Layer
from ptaudit.gradients.projection import LayerSketch
from ptaudit.gradients.rules import rule_for
from ptaudit.gradients.rules.base import Contribution
from ptaudit.gradients.rules.expanded import expanded
from ptaudit.gradients.rules.layout import SHARED
from ptaudit.training.batch import Inputs, call

__all__ = [
    "HALF", "PerRecordLoss", "Reading", "Sweep", "per_record", "reading_of", "reentrant", "sweep",
    "sweep_with_sum",
]  # fmt: skip

PerRecordLoss = Callable[[Tensor, Tensor], Tensor]
"""(output, target) -> one loss per record, shape (n,)."""


@dataclass(frozen=True)
class Sweep:
    """What one pass gave.

    Attributes:
        loss: (n,) float32.
        found: by layer name, its contribution; no entry where no gradient reached the layer.
        failed: by layer name, why its rule does not apply.
        half: whether gradients of reduced precision were seen.
    """

    loss: Tensor
    found: Mapping[str, Contribution] = field(default_factory=dict)
    failed: Mapping[str, str] = field(default_factory=dict)
    half: bool = False


def reading_of(layer: Layer, layout: str, sketch: LayerSketch | None) -> Reading | None:
    """How the layer is read in that layout, or None if no rule is for it."""
    places = places_of(layer, layout)
    if places is not None:
        return Reading(layer, expanded, sketch, places)
    rule = None if layer.is_complex else rule_for(layer.module, layout)
    return None if rule is None else Reading(layer, rule.contribution, sketch, shared=layout == SHARED)


def sweep(model: nn.Module, loss: PerRecordLoss, readings: Sequence[Reading], inputs: Inputs, targets: Tensor) -> Sweep:
    """Reads the layers on one chunk of records (n, ...); the model must be in the mode it is to be read in.

    Weights ask for no gradient meanwhile, so that the backward pass computes those of activations only.

    Raises:
        ModelError: the loss does not return one number per record.
    """
    with without_gradients(p for p in model.parameters() if p.requires_grad):
        return sweep_with_sum(model, loss, readings, inputs, targets)[0]


def sweep_with_sum(
    model: nn.Module, loss: PerRecordLoss, readings: Sequence[Reading], inputs: Inputs, targets: Tensor
) -> tuple[Sweep, dict[str, Tensor | None]]:
    """The same, and from the same pass the gradient of the summed loss by parameter path; None where it is unused.

    The hooks are tensor hooks on what modules return, which unlike module backward hooks live with in-place operations
    on it.
    """
    roots: list[Tensor] = []
    taps = [Tap(reading, len(targets), roots) for reading in readings]
    own = {path: parameter for path, parameter in model.named_parameters() if parameter.requires_grad}
    with ExitStack() as stack:
        stack.enter_context(watching(model, taps))
        stack.enter_context(expanding(taps, len(targets)))
        for tap in taps:
            if tap.reading.places is None:
                stack.callback(tap.layer.module.register_forward_pre_hook(tap.before).remove)
                stack.callback(tap.layer.module.register_forward_hook(tap.after, with_kwargs=True).remove)
        losses = per_record(loss, call(model, inputs), targets)
        grads = _differentiated(losses, roots, own) if roots or own else {}
    for tap in taps:
        tap.finish()
    found = {tap.layer.name: tap.result for tap in taps if tap.result is not None}
    failed = {tap.layer.name: tap.failure for tap in taps if tap.failure}
    half = losses.dtype in HALF or any(tap.half for tap in taps)
    return Sweep(losses.detach().float(), found, failed, half), grads


def _differentiated(
    losses: Tensor, roots: Sequence[Tensor], own: Mapping[str, nn.Parameter]
) -> dict[str, Tensor | None]:
    """Sends gradients back to where the hooks are, and gives those of parameters."""
    if losses.grad_fn is None:
        return dict.fromkeys(own)
    if not reentrant(losses.grad_fn):
        found = torch.autograd.grad(losses.sum(), [*roots, *own.values()], allow_unused=True)
        return dict(zip(own, found[len(roots) :]))
    with grads_aside(own.values()):
        losses.sum().backward()  # type: ignore[no-untyped-call]
        return {path: parameter.grad for path, parameter in own.items()}


def reentrant(last: Node) -> bool:
    """Whether a reentrant activation checkpoint is among what led there.

    It takes a full `backward` only, and to `torch.autograd.grad` parameters inside of it look unused.
    """
    seen, ahead = set[Node](), [last]
    while ahead:
        node = ahead.pop()
        if "Checkpoint" in node.name():
            return True
        before = {parent for parent, _ in node.next_functions if parent is not None} - seen
        seen |= before
        ahead += before
    return False


def per_record(loss: PerRecordLoss, output: Tensor, targets: Tensor) -> Tensor:
    """The losses (n,); raises ModelError if the loss function reduces them."""
    losses = loss(output, targets)
    if losses.shape != (len(targets),):
        raise ModelError(
            f"the loss returned shape {tuple(losses.shape)} for {len(targets)} records",
            where="train.loss",
            remedy="return one number per record (reduction='none')",
        )
    return losses
