"""Plain autograd, which all else is held against."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.autograd.graph import Node

from ptaudit.gradients.frozen_state import grads_aside
from ptaudit.gradients.layers import Layer
from ptaudit.gradients.record_losses import RecordLosses
from ptaudit.model_input import as_real

Gradients = dict[str, Tensor | None]
"""By parameter path; None where the loss does not depend on the parameter."""


def summed(losses: RecordLosses, layers: Sequence[Layer]) -> Gradients:
    """Gradient of the summed loss of the records."""
    return differentiate(losses(), losses.model, parameters_of(layers))


def parameters_of(layers: Sequence[Layer]) -> dict[str, nn.Parameter]:
    """The layers' parameters by path."""
    return {layer.path(name): p for layer in layers for name, p in layer.parameters.items()}


def differentiate(
    losses: Tensor, model: nn.Module, parameters: Mapping[str, nn.Parameter], roots: Sequence[Tensor] = ()
) -> Gradients:
    """Gradient of the sum of the losses; no `.grad` is written.

    Args:
        losses: (n,).
        model: what gave them.
        parameters: by path.
        roots: other tensors that gradients are sent back to.
    """
    if losses.grad_fn is None or not (roots or parameters):
        return dict.fromkeys(parameters)
    if not _reentrant(losses.grad_fn):
        found = torch.autograd.grad(losses.sum(), [*roots, *parameters.values()], allow_unused=True)
        return dict(zip(parameters, found[len(roots) :]))
    with grads_aside(model.parameters()):
        losses.sum().backward()  # type: ignore[no-untyped-call]
        return {path: parameter.grad for path, parameter in parameters.items()}


def dense(layers: Sequence[Layer], grads: Mapping[str, Tensor | None]) -> dict[str, Tensor]:
    """Gradients as real numbers, with zeros for None, and sparse ones filled up."""
    return {path: as_real(filled(grads[path], p).detach()) for path, p in parameters_of(layers).items()}


def filled(grad: Tensor | None, parameter: Tensor) -> Tensor:
    """A parameter's gradient with all its numbers: zeros where there is none."""
    if grad is None:
        return torch.zeros_like(parameter)
    return grad.to_dense() if grad.is_sparse else grad


def _reentrant(last: Node) -> bool:
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
