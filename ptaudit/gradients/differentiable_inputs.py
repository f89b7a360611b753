"""What a gradient is differentiated by: inputs and targets as numbers, and directions for them to move in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, Self

import torch
from torch import Tensor, nn
from torch.nn.functional import one_hot

from ptaudit.errors import ModelError
from ptaudit.gradients.agreement import ERRORS
from ptaudit.gradients.autograd import parameters_of
from ptaudit.gradients.layers import Layer
from ptaudit.gradients.record_losses import RecordLosses, per_record
from ptaudit.model_input import Inputs, as_real, call, leaves, mapped

Differentiable = list[Tensor]
"""The tensors that are private: floating-point leaves of the inputs, or the target alone."""

_TRIED = 64


@dataclass(frozen=True)
class DifferentiableLosses(RecordLosses):
    """The losses of n records as a function of what is private about them too.

    Attributes:
        layers: whose gradients are looked at.
        of: what is private.
        private: its tensors.
    """

    layers: tuple[Layer, ...]
    of: Literal["input", "target"]
    private: Differentiable

    @property
    def parameters(self) -> dict[str, nn.Parameter]:
        """Parameters of the layers by path."""
        return parameters_of(self.layers)

    def some(self, index: Tensor | slice) -> Self:
        """Those of some records, in the order of the index."""
        return replace(super().some(index), private=[leaf[index] for leaf in self.private])

    def moved(self, private: Differentiable) -> Self:
        """The same records with other private tensors."""
        inputs, targets = self.put(private, self.inputs, self.targets)
        return replace(self, private=private, inputs=inputs, targets=targets)

    def put(self, private: Differentiable, inputs: Inputs, targets: Tensor) -> tuple[Inputs, Tensor]:
        """Inputs and targets with other private tensors."""
        if self.of == "target":
            return inputs, private[0]
        each = iter(private)
        return mapped(lambda leaf: next(each) if leaf.is_floating_point() else leaf, inputs), targets

    def squares(self, tangents: Mapping[str, Tensor]) -> Tensor:
        """Squared norm of each layer's part, `(L, n)`, of tangents `(n, ...)` by path."""

        def square(layer: Layer) -> Tensor:
            parts = [as_real(tangents[layer.path(name)]).float().flatten(1) for name in layer.parameters]
            return torch.stack([torch.linalg.vector_norm(part, dim=1) for part in parts]).square().sum(0)

        return torch.stack([square(layer) for layer in self.layers])


def floats(inputs: Inputs) -> Differentiable:
    """The inputs that are numbers.

    Raises:
        ModelError: there are none.
    """
    found = [leaf for leaf in leaves(inputs) if leaf.is_floating_point()]
    if not found:
        raise ModelError("the inputs are whole numbers (token ids), by which nothing can be differentiated")
    return found


def soft_target(losses: RecordLosses) -> Tensor:
    """Targets that may move, with the same loss as the classes that they stand for: one-hot, or the number itself.

    Raises:
        ModelError: the loss takes neither.
    """
    if losses.targets.is_floating_point():
        return losses.targets
    few = losses.some(slice(_TRIED))
    with torch.no_grad():
        output = call(few.model, few.inputs)
        hard = per_record(few.loss, output, few.targets)
    for soften in (_one_hot, Tensor.type_as):
        try:
            found = per_record(few.loss, output, soften(few.targets, output).clone().requires_grad_())
            if found.requires_grad and torch.allclose(found, hard, rtol=1e-3, atol=1e-5):
                return soften(losses.targets, output)
        except ERRORS:
            continue
    raise ModelError("the loss takes no soft target, so that nothing can be differentiated by the label")


def _one_hot(targets: Tensor, output: Tensor) -> Tensor:
    if targets.dim() != 1:
        raise ModelError("a label for each record is needed")
    return one_hot(targets, output.shape[1]).to(output.dtype)


def direction(private: Differentiable, columns: slice, exact: bool, k: int, seed: int) -> Differentiable:
    """The k-th direction of every record.

    Args:
        private: what moves, of n records.
        columns: the numbers of a record that move, counted flat over all tensors.
        exact: a unit direction times the root of their number; else independent random signs for every record.
        k: which one.
        seed: of the signs.
    """
    n, sizes, width = len(private[0]), [leaf[0].numel() for leaf in private], columns.stop - columns.start
    flat = torch.zeros(n, sum(sizes))
    if exact:
        flat[:, columns.start + k] = width**0.5
    else:
        generator = torch.Generator().manual_seed(((seed << 16) + k) % (1 << 63))
        flat[:, columns] = torch.randint(2, (n, width), generator=generator) * 2.0 - 1.0
    parts = torch.split(flat, sizes, 1)
    return [part.reshape(leaf.shape).to(leaf) for part, leaf in zip(parts, private, strict=True)]


def along(slopes: Sequence[Tensor], u: Differentiable) -> Tensor:
    """Slope of the losses along u."""
    return torch.stack([(slope * d).sum() for slope, d in zip(slopes, u, strict=True)]).sum()


def tangents(losses: DifferentiableLosses, u: Differentiable) -> dict[str, Tensor]:
    """J u by path, summed over the records; the private tensors must ask for gradients."""
    slopes = torch.autograd.grad(losses().sum(), losses.private, create_graph=True, materialize_grads=True)
    return gradients_of(losses.parameters, along(slopes, u))


def gradients_of(parameters: Mapping[str, nn.Parameter], value: Tensor) -> dict[str, Tensor]:
    """Gradient of a number by every parameter; 0 where it does not depend on it."""
    if not value.requires_grad:
        return {path: torch.zeros_like(p) for path, p in parameters.items()}
    return dict(zip(parameters, torch.autograd.grad(value, list(parameters.values()), materialize_grads=True)))


def cut(private: Differentiable, s: slice) -> Differentiable:
    """Some records."""
    return [leaf[s] for leaf in private]
