"""How much a layer's gradient moves with what is private: Frobenius norms of Jacobians (Mo et al., arXiv 2105.13929).

For a layer with p parameters and a record, J is the (p x d) Jacobian of the record's gradient g with respect to d
numbers: the input, the columns that encode an attribute, or the target. Hutchinson's estimator turned round: for u with
independent signs E ||J u||^2 = ||J||_F^2, and J u is the gradient by the weights of the slope of the loss along u,

    J u = d/dw (d/dx loss . u),

so one double backward pass serves all layers of a record, every record has probes of its own (with ||J^T v||^2 a layer
costs a pass, and all records of a batch share v), and where d is at most twice the number of probes the unit directions
give the norm exactly. Norms are squared here: a mean of squares over probes and records has no bias.

A layer's norm grows with its size: divided by sqrt(p d) it is the root mean square of the Jacobian's entries, which
layers and inputs of different size share. It has the unit of loss / (weight * input): layers of one model compare with
each other, models only as far as their weights and inputs have the same scale.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor

from ptaudit.gradients.agreement import ERRORS
from ptaudit.gradients.differentiable_inputs import (
    Differentiable,
    DifferentiableLosses,
    cut,
    direction,
    floats,
    gradients_of,
    soft_target,
    tangents,
)
from ptaudit.gradients.frozen_state import frozen_state
from ptaudit.gradients.input_products import fastest_forward
from ptaudit.gradients.layers import Layer, find_layers
from ptaudit.gradients.record_losses import RecordLosses
from ptaudit.gradients.rules.base import pieces
from ptaudit.model_input import batched, mapped

_AT_ONCE = 64
"""Records of a pass: more are no faster on a CPU."""

HIDDEN = "its derivatives are not those of the gradient: an operation hides its second derivative"

_TRIED = 2
_AGREE = 1e-2
"""Records on which all is tried, and the relative difference that rounding explains."""

_STEP, _JITTER, _ROUNDING = 1e-6, 1e-2, 1e-12
"""Of a difference quotient in float64, relative to the size of what moves, and of the gradient."""


@dataclass(frozen=True)
class Norms:
    """Squared Frobenius norms of the Jacobians of L layers, by K probes.

    Attributes:
        squares: `(L, N, K)`, float64; the mean over probes is an unbiased estimate of ||J||_F^2 of layer and record.
        rows: parameters of each layer, `(L,)`.
        columns: d, the numbers that the gradient is differentiated by.
        exact: whether the probes are all unit directions, whose mean is ||J||_F^2 itself.
        doubts: for each layer, why its numbers say nothing; empty where they do.
    """

    squares: Tensor
    rows: tuple[int, ...]
    columns: int
    exact: bool
    doubts: tuple[str, ...]

    @property
    def per_record(self) -> Tensor:
        """Mean squared entry of the Jacobian of each layer and record, `(L, N)`."""
        return self.squares.mean(-1) / self._entries[:, None]

    @property
    def probe_error(self) -> Tensor:
        """Standard error, due to the probes alone, of the mean of `per_record` over the records, `(L,)`."""
        _, n, probes = self.squares.shape
        error = (self.squares.var(-1).sum(1) / probes).sqrt() / n
        return torch.zeros_like(error) if self.exact else error / self._entries

    @property
    def _entries(self) -> Tensor:
        return torch.tensor(self.rows, dtype=torch.float64) * self.columns


Private = Literal["input", "target"] | slice
"""What is private of a record: its input, some numbers of it (counted flat), or its target."""


def jacobian_norms(
    records: RecordLosses, layers: Sequence[str], private: Private = "input", probes: int = 8, seed: int = 0
) -> Norms:
    """Norms of the Jacobians of some layers' per-record gradients, with the model in eval mode and left as found.

    Classes are differentiated by as a one-hot (soft) target where the loss takes one, else by their number where the
    loss takes that; all directions count, also those that leave the simplex.

    Args:
        records: N of them, on the device of their model; floating-point inputs are differentiated by, others are held.
        layers: names of trainable layers.
        private: with respect to what.
        probes: Hutchinson probes a record, at least 2.
        seed: of the probes.

    Raises:
        ModelError: with the reason why there is no such Jacobian: inputs that are whole numbers, a loss that takes no
            soft target, operations without a second derivative.
    """
    model, chosen = records.model, tuple(layer for layer in find_layers(records.model) if layer.name in set(layers))
    # The fused kernels of attention have no second derivative.
    with frozen_state(model, records.targets.device), batched():
        of: Literal["input", "target"] = "target" if private == "target" else "input"
        moving = floats(records.inputs) if of == "input" else [soft_target(records)]
        losses = DifferentiableLosses(model, records.loss, records.inputs, records.targets, chosen, of, moving)
        columns = private if isinstance(private, slice) else slice(0, sum(leaf[0].numel() for leaf in moving))
        width = columns.stop - columns.start
        exact = width <= 2 * probes
        u = direction(moving, columns, exact, 0, seed)
        forward = fastest_forward(losses, u)
        step = min(_AT_ONCE, next(pieces(len(records), 3 * sum(layer.size for layer in chosen))).stop)
        slices = [slice(start, start + step) for start in range(0, len(records), step)]
        squares = []
        for k in range(width if exact else probes):
            u = direction(moving, columns, exact, k, seed)
            moved = [losses.squares(forward(losses.some(s), cut(u, s))) for s in slices]
            squares.append(torch.cat(moved, 1).double().cpu())
        doubts = hidden_derivatives(losses, u)
    return Norms(torch.stack(squares, -1), tuple(layer.size for layer in chosen), width, exact, doubts)


def hidden_derivatives(losses: DifferentiableLosses, u: Differentiable) -> tuple[str, ...]:
    """For each layer, why its J u says nothing: it is not that of a difference quotient, or of two (the first may have
    met a kink); empty where it is.

    A backward pass may be written without regard for its own derivative, which then is wrong without an error.
    """
    few, u = losses.some(slice(_TRIED)), cut(u, slice(_TRIED))
    wrong = {layer.name for layer in losses.layers}
    with suppress(*ERRORS):  # a model that does not go in float64 cannot be held against quotients
        exact = _in_float64(few)
        for seed in range(2):
            wrong &= _wrong(exact, [d.double() for d in u], seed) if wrong else set()
        return tuple(HIDDEN if layer.name in wrong else "" for layer in losses.layers)
    return ("",) * len(losses.layers)


def _in_float64(losses: DifferentiableLosses) -> DifferentiableLosses:
    def double(x: Tensor) -> Tensor:
        return x.double() if x.is_floating_point() else x

    model = copy.deepcopy(losses.model).double()
    names = {layer.name for layer in losses.layers}
    layers = tuple(layer for layer in find_layers(model) if layer.name in names)
    private, inputs = [x.double() for x in losses.private], mapped(double, losses.inputs)
    return replace(losses, model=model, layers=layers, private=private, inputs=inputs, targets=double(losses.targets))


def _wrong(losses: DifferentiableLosses, u: Differentiable, seed: int) -> set[str]:
    """Layers whose J u, summed over the records, is not the quotient, beside the records: these may lie on kinks."""
    generator = torch.Generator().manual_seed(seed)
    sizes = [max(float(x.square().mean().sqrt()), 1e-6) for x in losses.private]
    noise = [torch.randn(x.shape, generator=generator, dtype=x.dtype).to(x.device) for x in losses.private]
    beside = [(x + _JITTER * s * e).requires_grad_() for x, s, e in zip(losses.private, sizes, noise, strict=True)]
    step = _STEP * min(sizes)

    def gradients(sign: float) -> dict[str, Tensor]:
        moved = [x.detach() + sign * step * d for x, d in zip(beside, u, strict=True)]
        return gradients_of(losses.parameters, losses.moved(moved)().sum())

    up, down = gradients(1.0), gradients(-1.0)
    told = tangents(losses.moved(beside), u)

    def size(layer: Layer, of: Callable[[str], Tensor]) -> float:
        return float(torch.stack([of(layer.path(name)).norm() for name in layer.parameters]).norm())

    return {
        layer.name
        for layer in losses.layers
        if size(layer, lambda path: up[path] - down[path] - 2 * step * told[path])
        > _AGREE * size(layer, lambda path: up[path] - down[path]) + _ROUNDING * size(layer, lambda path: up[path])
    }
