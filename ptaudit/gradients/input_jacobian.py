"""How much of a record a noisy gradient can tell: singular values of J = d clip(g) / d input, layer by layer.

The gradient g of a record, over all trainable parameters, is clipped to norm C first: where it is longer, the Jacobian
is C / |g| (I - u u^T) dg/dx with u = g / |g|, else that of g. A layer's part are the rows of its parameters. Where the
input has few numbers, J is built column by column and its singular values are exact; else the largest comes from
Lanczos' method and the sum of their squares from Hutchinson's, by products alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ptaudit.gradients.differentiable_inputs import Differentiable, DifferentiableLosses, cut, direction, floats
from ptaudit.gradients.frozen_state import frozen_state
from ptaudit.gradients.input_products import Backward, Forward, fastest_backward, fastest_forward
from ptaudit.gradients.lanczos import largest_ritz_value
from ptaudit.gradients.layers import find_layers
from ptaudit.gradients.record_losses import RecordLosses
from ptaudit.gradients.rules.base import MEMORY, pieces
from ptaudit.gradients.sensitivity import hidden_derivatives
from ptaudit.gradients.whole_gradients import one_by_one
from ptaudit.model_input import as_real, batched

EXACT = 64
"""Most numbers of an input whose Jacobian is built."""

_AT_ONCE = 64
"""Records of a pass: more are no faster on a CPU."""


@dataclass(frozen=True)
class Precision:
    """How much work the singular values are worth, where the Jacobian is not built.

    Attributes:
        steps: Lanczos steps for the largest one.
        probes: Hutchinson probes for the sum of squares, shared by all layers.
        seed: of both.
    """

    steps: int = 16
    probes: int = 16
    seed: int = 0


@dataclass(frozen=True)
class SingularValues:
    """Of the Jacobians of N records, for all given layers jointly and for each of L layers.

    Attributes:
        largest_sq: `(1 + L, N)`, float64, square of the largest singular value; a lower bound on it unless exact.
        sum_sq: `(1 + L, N)`, float64, sum of the squares; without bias unless exact.
        columns: d, numbers of an input.
        steps: products behind `largest_sq`; as many as columns where it is exact.
        doubts: for each row, why its numbers say nothing; empty where they do.
    """

    largest_sq: Tensor
    sum_sq: Tensor
    columns: int
    steps: int
    doubts: tuple[str, ...]


def singular_values(
    records: RecordLosses, layers: Sequence[str], clip: float | None, precision: Precision
) -> SingularValues:
    """Singular values of what records' inputs do to the gradients of some layers; the model is left as found.

    Args:
        records: N of them, on the device of their model; floating-point inputs are differentiated by.
        layers: names of trainable layers, each once, in model order.
        clip: norm that the gradient of a record, over all trainable parameters, is clipped to; None for none.
        precision: for inputs of more than `EXACT` numbers.

    Raises:
        ModelError: with the reason why there is no such Jacobian: inputs that are whole numbers, operations without a
            second derivative.
    """
    # The fused kernels of attention have no second derivative.
    with frozen_state(records.model, records.targets.device), batched():
        products = _Products.of(records, precision.seed)
        losses, d = products.losses, products.columns
        p = sum(layer.size for layer in losses.layers)
        built = d <= EXACT and p * d <= MEMORY
        found = []
        for s in _slices(len(records), p * (d if built else 4)):
            jacobian = _Jacobian.of(products.some(s), clip, layers)
            found.append(_built(jacobian) if built else _by_products(jacobian, precision, s.start))
        largest, squares = (torch.cat(parts, 1).cpu() for parts in zip(*found, strict=True))
        told = dict(zip((layer.name for layer in losses.layers), hidden_derivatives(losses, products.v), strict=True))
    each = [told[name] for name in layers]
    anywhere = next((why for why in (each if clip is None else told.values()) if why), "")
    doubts = (anywhere, *(each if clip is None else [anywhere] * len(each)))  # every layer counts in the norm
    return SingularValues(largest, squares, d, d if built else min(precision.steps, d), doubts)


def pulled_back(records: RecordLosses, layers: Sequence[str], delta: Tensor) -> Tensor:
    """|J^T delta| of the gradients as they are, for all given layers jointly and for each: `(1 + L, N)`, float64.

    Args:
        records: see `singular_values`, which says what is raised.
        layers: names of trainable layers, each once, in model order.
        delta: what the gradients were moved by, over all trainable parameters in model order, `(N, p)`.
    """
    with frozen_state(records.model, records.targets.device), batched():
        products = _Products.of(records, 0)
        found = []
        for s in _slices(len(records), 4 * delta.shape[1]):
            jacobian = _Jacobian.of(products.some(s), None, layers)
            pulled = [jacobian.transposed_times(kept(delta[s], part)).norm(dim=1) for part in jacobian.parts]
            found.append(torch.stack(pulled).double())
    return torch.cat(found, 1).cpu()


def kept(row: Tensor, part: Sequence[slice]) -> Tensor:
    """A row of numbers with zeros outside of some places."""
    found = torch.zeros_like(row)
    for place in part:
        found[:, place] = row[:, place]
    return found


def _slices(n: int, numbers: int) -> Iterator[slice]:
    step = min(_AT_ONCE, next(pieces(n, numbers)).stop)
    return (slice(start, start + step) for start in range(0, n, step))


@dataclass(frozen=True)
class _Products:
    """Products with the Jacobian of n records' gradients as they are.

    Attributes:
        losses: the records; all trainable layers.
        v: a direction for each, on which the ways were tried.
        forward: J v.
        backward: J^T u.
    """

    losses: DifferentiableLosses
    v: Differentiable
    forward: Forward
    backward: Backward

    @classmethod
    def of(cls, records: RecordLosses, seed: int) -> _Products:
        """The fastest ones that are right."""
        model, moving = records.model, floats(records.inputs)
        every = find_layers(model)
        losses = DifferentiableLosses(model, records.loss, records.inputs, records.targets, every, "input", moving)
        v = direction(moving, slice(0, sum(leaf[0].numel() for leaf in moving)), False, 0, seed)
        forward = fastest_forward(losses, v)
        few = slice(2)
        return cls(losses, v, forward, fastest_backward(losses, forward(losses.some(few), cut(v, few))))

    @property
    def columns(self) -> int:
        """Numbers of an input (d)."""
        return sum(leaf[0].numel() for leaf in self.losses.private)

    def some(self, s: slice) -> _Products:
        """Those of some records."""
        return replace(self, losses=self.losses.some(s), v=cut(self.v, s))


@dataclass(frozen=True)
class _Jacobian:
    """Products with the Jacobian of n records' clipped gradients, whose p numbers stand in one row.

    Attributes:
        products: those of the gradients as they are.
        unit: directions of the gradients that are clipped, `(n, p)`; 0 for others.
        scale: what clipping multiplies each gradient by, `(n, 1)`.
        parts: places in the row of all given layers jointly, then of each.
    """

    products: _Products
    unit: Tensor
    scale: Tensor
    parts: tuple[tuple[slice, ...], ...]

    @classmethod
    def of(cls, products: _Products, clip: float | None, layers: Sequence[str]) -> _Jacobian:
        """That of some records, clipped to a norm or not; with the parts of these layers."""
        losses = products.losses
        found = one_by_one(losses, losses.parameters).of
        gradient = torch.cat([as_real(found[path]).float().flatten(1) for path in losses.parameters], 1)
        norm = gradient.norm(dim=1, keepdim=True)
        clipped = norm > (torch.inf if clip is None else clip)
        scale = torch.where(clipped, (clip or 1.0) / norm.clamp_min(1e-30), 1.0)
        unit = torch.where(clipped, gradient / norm.clamp_min(1e-30), 0.0)
        places, start = {}, 0
        for layer in losses.layers:
            places[layer.name] = slice(start, start + layer.size)
            start += layer.size
        each = tuple((places[name],) for name in layers)
        return cls(products, unit, scale, (tuple(place for (place,) in each), *each))

    def times(self, v: Tensor) -> Tensor:
        """J v: `(n, d)` to `(n, p)`."""
        losses = self.products.losses
        split = zip(torch.split(v, [leaf[0].numel() for leaf in losses.private], 1), losses.private, strict=True)
        leaves = [x.reshape(leaf.shape).to(leaf) for x, leaf in split]
        moved = self.products.forward(losses, leaves)
        return self._clipped(torch.cat([moved[path].float().flatten(1) for path in losses.parameters], 1))

    def transposed_times(self, u: Tensor) -> Tensor:
        """J^T u: `(n, p)` to `(n, d)`."""
        losses = self.products.losses
        shapes = {path: as_real(p).shape for path, p in losses.parameters.items()}
        split = torch.split(self._clipped(u), [shape.numel() for shape in shapes.values()], 1)
        moved = {path: x.reshape(-1, *shape) for (path, shape), x in zip(shapes.items(), split, strict=True)}
        return torch.cat([x.flatten(1) for x in self.products.backward(losses, moved)], 1)

    def _clipped(self, row: Tensor) -> Tensor:
        """The derivative of clipping, which is symmetric."""
        return self.scale * (row - self.unit * (self.unit * row).sum(1, keepdim=True))

    def gram_times(self, part: tuple[slice, ...], v: Tensor) -> Tensor:
        """J^T J v of the rows of some layers: `(n, d)` to `(n, d)`."""
        return self.transposed_times(kept(self.times(v), part))


def _built(jacobian: _Jacobian) -> tuple[Tensor, Tensor]:
    """Squares of the largest singular value, and their sum, of all parts: `(1 + L, n)` each; of the whole Jacobian."""
    d, unit = jacobian.products.columns, jacobian.unit
    whole = unit.new_empty(d, *unit.shape)
    for k, v in enumerate(torch.eye(d, device=unit.device)):
        whole[k] = jacobian.times(v.expand(len(unit), d))
    each = [whole[:, :, place].transpose(0, 1) for (place,) in jacobian.parts[1:]]
    own = torch.stack([(part @ part.mT).double() for part in each])
    gram = torch.cat([own.sum(0, keepdim=True), own])
    return torch.linalg.eigvalsh(gram)[..., -1].clamp_min(0.0), gram.diagonal(dim1=-2, dim2=-1).sum(-1)


def _by_products(jacobian: _Jacobian, precision: Precision, first: int) -> tuple[Tensor, Tensor]:
    """The same by Lanczos' and Hutchinson's methods; every record has starts and probes of its own."""
    n, d = len(jacobian.unit), jacobian.products.columns
    generator = torch.Generator().manual_seed((precision.seed + first) % (1 << 63))
    device = jacobian.unit.device

    def drawn() -> Tensor:
        return torch.randn(n, d, generator=generator).to(device)

    squares = []
    for _ in range(precision.probes):
        moved = jacobian.times(drawn().sign()).double()
        own = torch.stack([moved[:, place].square().sum(1) for (place,) in jacobian.parts[1:]])
        squares.append(torch.cat([own.sum(0, keepdim=True), own]))
    largest = [
        largest_ritz_value(lambda v, part=part: jacobian.gram_times(part, v), drawn(), precision.steps)  # type: ignore[misc]
        for part in jacobian.parts
    ]
    return torch.stack(largest), torch.stack(squares).mean(0)
