"""Products with the Jacobian of records' gradients with respect to their inputs: J v and J^T u, never J itself.

J v is the gradient by the weights of the slope of the loss along v, and J^T u the gradient by the input of the inner
product of the gradient with u: a double backward pass each, of all records side by side where `torch.func` gives what
plain autograd gives, else of one record after the other.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor
from torch.func import grad

from ptaudit.errors import ModelError, in_one_line
from ptaudit.gradients.agreement import ERRORS, agrees
from ptaudit.gradients.differentiable_inputs import Differentiable, DifferentiableLosses, along, cut, tangents
from ptaudit.gradients.record_losses import loss_at, over_records
from ptaudit.model_input import Inputs, as_real

_AGREE = 1e-2
"""Relative difference that rounding explains."""

_TRIED = 2
"""Records on which the faster way is tried."""

ByPath = dict[str, Tensor]
"""Numbers of n records, `(n, *shape)`, by path of the parameter; real and imaginary parts apart."""

Forward = Callable[[DifferentiableLosses, Differentiable], ByPath]
"""J v of every record, in the shapes of the parameters."""
Backward = Callable[[DifferentiableLosses, Mapping[str, Tensor]], Differentiable]
"""J^T u of every record, in the shapes of what is private."""


def fastest_forward(losses: DifferentiableLosses, v: Differentiable) -> Forward:
    """All records side by side, where `torch.func` gives on a few what plain autograd gives; else one by one.

    Args:
        losses: the records.
        v: a direction for each.

    Raises:
        ModelError: not even plain autograd has such derivatives.
    """
    few, v = losses.some(slice(_TRIED)), cut(v, slice(_TRIED))
    try:
        truth = forward_alone(few, v)
    except ERRORS as error:
        raise ModelError(f"no second derivative: {in_one_line(error)}") from error
    together = agrees(lambda: list(forward_together(few, v).values()), list(truth.values()), _AGREE)
    return forward_together if together else forward_alone


def fastest_backward(losses: DifferentiableLosses, u: Mapping[str, Tensor]) -> Backward:
    """The same for J^T u; raises as `fastest_forward` does.

    Args:
        losses: the records.
        u: numbers for each, in the shapes of the parameters.
    """
    few, u = losses.some(slice(_TRIED)), {path: x[:_TRIED] for path, x in u.items()}
    try:
        truth = backward_alone(few, u)
    except ERRORS as error:
        raise ModelError(f"no second derivative: {in_one_line(error)}") from error
    return backward_together if agrees(lambda: backward_together(few, u), truth, _AGREE) else backward_alone


def forward_together(losses: DifferentiableLosses, v: Differentiable) -> ByPath:
    """J v by `torch.func`."""
    at = _loss_of_one(losses)

    def slope(
        weights: dict[str, Tensor], private: Differentiable, inputs: Inputs, target: Tensor, v: Differentiable
    ) -> Tensor:
        return along(grad(at, argnums=1)(weights, private, inputs, target), v)

    found = over_records(grad(slope), _weights(losses), losses.private, losses.inputs, losses.targets, v)
    return {path: as_real(x) for path, x in found.items()}


def backward_together(losses: DifferentiableLosses, u: Mapping[str, Tensor]) -> Differentiable:
    """J^T u by `torch.func`."""
    at = _loss_of_one(losses)

    def inner(
        weights: dict[str, Tensor], private: Differentiable, inputs: Inputs, target: Tensor, u: dict[str, Tensor]
    ) -> Tensor:
        return _inner(grad(at)(weights, private, inputs, target), u)

    each = losses.private, losses.inputs, losses.targets, dict(u)
    return over_records(grad(inner, argnums=1), _weights(losses), *each)


def forward_alone(losses: DifferentiableLosses, v: Differentiable) -> ByPath:
    """J v by plain autograd, one record after the other."""
    found = []
    for i in range(len(losses)):
        s = slice(i, i + 1)
        found.append(tangents(_differentiable(losses.some(s)), cut(v, s)))
    return {path: as_real(torch.stack([one[path] for one in found])) for path in losses.parameters}


def backward_alone(losses: DifferentiableLosses, u: Mapping[str, Tensor]) -> Differentiable:
    """J^T u by plain autograd, one record after the other."""
    found, parameters = [], losses.parameters
    for i in range(len(losses)):
        one = _differentiable(losses.some(slice(i, i + 1)))
        weights = list(parameters.values())
        gradient = torch.autograd.grad(one().sum(), weights, create_graph=True, materialize_grads=True)
        value = _inner(dict(zip(parameters, gradient)), {path: u[path][i] for path in parameters})
        moved = torch.autograd.grad(value, one.private, materialize_grads=True) if value.requires_grad else None
        found.append(moved or [torch.zeros_like(leaf) for leaf in one.private])
    return [torch.cat(parts) for parts in zip(*found, strict=True)]


def _loss_of_one(losses: DifferentiableLosses) -> Callable[..., Tensor]:
    """The loss of one record as a function of weights, of what is private, of inputs and of the target."""
    loss = loss_at(losses.model, losses.loss)

    def at(weights: dict[str, Tensor], private: Differentiable, inputs: Inputs, target: Tensor) -> Tensor:
        return loss(weights, *losses.put(private, inputs, target))

    return at


def _weights(losses: DifferentiableLosses) -> dict[str, Tensor]:
    return {path: p.detach() for path, p in losses.parameters.items()}


def _differentiable(losses: DifferentiableLosses) -> DifferentiableLosses:
    return losses.moved([leaf.detach().clone().requires_grad_() for leaf in losses.private])


def _inner(gradient: Mapping[str, Tensor], u: Mapping[str, Tensor]) -> Tensor:
    return torch.stack([(as_real(gradient[path]) * u[path]).sum() for path in u]).sum()
