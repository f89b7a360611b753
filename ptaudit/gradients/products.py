"""Inner products of every record's gradient with a direction of each layer: exact, and without any record's gradient.

The gradient of sum_i v_i loss_i is linear in v, so that the derivative by v_i of its inner product with a direction u
is <g_i, u>: one more backward pass for each layer, from there up to the loss, serves all records at once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ptaudit.errors import in_one_line
from ptaudit.gradients.agreement import ERRORS, tolerance
from ptaudit.gradients.autograd import filled, parameters_of
from ptaudit.gradients.frozen_state import frozen_state
from ptaudit.gradients.layers import Layer
from ptaudit.gradients.record_losses import RecordLosses
from ptaudit.gradients.sensitivity import HIDDEN
from ptaudit.model_input import as_real, batched

Directions = Mapping[str, Tensor]
"""One for each parameter, by path, of its shape as real numbers."""


@dataclass(frozen=True)
class Products:
    """Inner products of n records' gradients with one direction in each of L layers.

    Attributes:
        values: `(L, n)` float64, on the CPU; NaN for a layer of which nothing is known.
        failed: why nothing is known of a layer, by its name.
    """

    values: Tensor
    failed: Mapping[str, str]


def products(losses: RecordLosses, layers: Sequence[Layer], directions: Directions) -> Products:
    """All records in one pass, with the model in evaluation mode and left as found.

    Args:
        losses: of n records.
        layers: L layers of their model.
        directions: of all parameters of the layers.

    Raises:
        OutOfMemoryError: the records are too many for the device.
    """
    parameters, failed = parameters_of(layers), dict[str, str]()
    values = torch.zeros(len(layers), len(losses), dtype=torch.float64)
    # The fused kernels of attention have no second derivative.
    with frozen_state(losses.model, losses.targets.device), batched():
        each = losses()
        weights = torch.ones_like(each, requires_grad=True)
        try:
            total = (weights * each).sum()
            found = torch.autograd.grad(total, [*parameters.values()], create_graph=True, allow_unused=True)
        except torch.OutOfMemoryError:
            raise
        except ERRORS as error:
            return Products(values * torch.nan, {layer.name: _none(error) for layer in layers})
        grads = dict(zip(parameters, found))
        for row, layer in zip(values, layers):
            try:
                row += _of_layer(layer, grads, directions, weights)
            except torch.OutOfMemoryError:
                raise
            except ERRORS as error:
                failed[layer.name] = _none(error)
                row += torch.nan
    return Products(values, failed)


def _of_layer(layer: Layer, grads: Mapping[str, Tensor | None], directions: Directions, weights: Tensor) -> Tensor:
    """Products `(n,)`: 0 where the loss does not depend on the layer.

    Raises:
        RuntimeError: the gradient cannot be differentiated by the weights of the records, or not rightly.
    """
    paths = [path for name in layer.parameters if grads[path := layer.path(name)] is not None]
    if not paths:
        return torch.zeros(len(weights), dtype=torch.float64)
    along = [(as_real(filled(grads[path], weights)) * directions[path].to(weights.device)).sum() for path in paths]
    whole = torch.stack(along).sum()
    (found,) = torch.autograd.grad(whole, weights, retain_graph=True)
    # What all of them add up to is known without a second derivative.
    allowed = tolerance([layer], weights.device) * float(found.norm() + whole.detach().abs())
    if abs(float(found.sum() - whole.detach())) > allowed:
        raise RuntimeError(HIDDEN)
    return found.double().cpu()


def _none(error: Exception) -> str:
    return f"no second derivative: {in_one_line(error)}"
