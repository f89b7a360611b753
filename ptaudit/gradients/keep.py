"""Which form a layer's per-record gradients are kept in, and the rules' way of giving them in that form."""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from ptaudit.gradients.hooks import Reading
from ptaudit.gradients.layers import Layer
from ptaudit.gradients.matrices import Dense, Factors, RecordGradients, UsedRows
from ptaudit.gradients.per_example_pass import reading_of
from ptaudit.gradients.projection import Block, LayerSketch, MatrixBlock, VectorBlock, generator_for, projection
from ptaudit.gradients.rules.base import Contribution, ContributionOf, ModuleCall, all_positions
from ptaudit.gradients.rules.embedding import looked_up

WHOLE = 4096
"""Layers with at most so many parameters are kept whole."""

FACTORS = 32_768
"""Most numbers of a record's factors; above it, and where the matrix is smaller, there is a matrix."""

PROJECTED = 1024
"""Numbers of a matrix whose columns are projected."""


class KeptSketch(LayerSketch):
    """Says a layer's gradient of each record as matrices, in the place of its sketch; small ones whole.

    Args:
        name: the layer's name.
        shapes: shape of each of its trainable parameters.
        seed: of the projections.
    """

    def __init__(self, name: str, shapes: Mapping[str, torch.Size], seed: int) -> None:
        self._separable, self._key = False, (seed, name, "kept")
        self._shapes, self._device = shapes, torch.device("cpu")
        self._small = sum(math.prod(shape) for shape in shapes.values()) <= WHOLE
        self.side = 0

    @functools.cached_property
    def blocks(self) -> tuple[Block, ...]:  # type: ignore[override]
        """The projections, drawn when they are first asked for: layers that have factors need none."""
        return tuple(block.to(self._device) for block in self._blocks(self._shapes))

    @functools.cached_property
    def sizes(self) -> list[tuple[int, int]]:
        """Rows and columns of the matrix of every block."""
        return [_size(block) for block in self.blocks]

    @functools.cached_property
    def dim(self) -> int:  # type: ignore[override]
        """Numbers of all matrices."""
        return sum(rows * columns for rows, columns in self.sizes)

    def to(self, device: torch.device) -> KeptSketch:
        """On another device; to be asked for before the projections are."""
        self._device = device
        return self

    def __call__(self, grads: Mapping[str, Tensor]) -> Tensor:
        """The matrices of explicit gradients one after the other, `(n, dim)`."""
        return torch.cat([block(grads) for block in self.blocks], 1)

    def spans(self) -> list[tuple[Block, slice]]:
        """Every block and its span: one after the other."""
        ends = list(itertools.accumulate(rows * columns for rows, columns in self.sizes))
        return [(block, slice(start, end)) for block, start, end in zip(self.blocks, [0, *ends], ends)]

    def split(self, flat: Tensor) -> list[RecordGradients]:
        """The matrices in what a rule gave, `(N, dim)`."""
        parts = torch.split(flat, [rows * columns for rows, columns in self.sizes], 1)
        return [
            Dense(part.reshape(len(flat), *size).contiguous(), _is_whole(block))
            for part, size, block in zip(parts, self.sizes, self.blocks)
        ]

    def _matrix_block(self, weight: str, bias: str | None, rows: int, channels: int, positions: int) -> MatrixBlock:
        columns = channels * positions + (bias is not None)
        if not self._small and rows * columns > WHOLE:
            right = projection(max(2, min(columns, PROJECTED // rows)), columns, self._generator(weight, "right"))
        else:
            right = torch.eye(columns)
        if not self._small and rows > PROJECTED // 2:
            left = projection(PROJECTED // len(right), rows, self._generator(weight, "left"))
        else:
            left = torch.eye(rows)
        corner = right[:, -1].contiguous() if bias else None
        return MatrixBlock(weight, bias, left, right[:, : columns - (bias is not None)].contiguous(), corner)

    def _vector_block(self, names: tuple[str, ...], length: int) -> VectorBlock:
        matrix = torch.eye(length) if length <= WHOLE else projection(256, length, self._generator(names[0], "vector"))
        return VectorBlock(names, matrix)

    def _generator(self, *names: str) -> torch.Generator:
        return generator_for(*self._key, *names)


class Keeper:
    """Listens at one layer in the place of its rule, and keeps what gradients are made of, chunk by chunk.

    Args:
        layer: the layer.
        layout: how a rule finds the records, see `LayerInfo.layout`.
        sketch: the matrices that are kept where there are no factors.
    """

    def __init__(self, layer: Layer, layout: str, sketch: KeptSketch) -> None:
        self.sketch = sketch
        self._layer, self._layout = layer, layout
        self._parts: list[tuple[Tensor, ...] | int] = []
        self._noted: tuple[Tensor, ...] | None = None
        self._lost = False

    @property
    def reading(self) -> Reading:
        """What listens in the place of the layer's rule; only for a layer that has one."""
        found = reading_of(self._layer, self._layout, self.sketch)
        assert found is not None
        if found.axes is not None:
            return found
        return replace(found, rule=replace(found.rule, contribution=self._listening(found.rule.contribution)))

    def _listening(self, rule: ContributionOf) -> ContributionOf:
        def contribution(layer: Layer, calls: Sequence[ModuleCall], n: int, sketch: LayerSketch | None) -> Contribution:
            factors = _factors(layer, calls, n)
            if factors is None:
                return rule(layer, calls, n, self.sketch)
            self._noted = tuple(part.detach().clone() for part in factors)
            return None, torch.zeros(n, device=factors[0].device)

        return contribution

    def keep(self, found: Contribution | None, n: int, failed: bool = False) -> None:
        """Keeps a chunk of n records: what was noted, or the matrices that were found; else their gradient is 0.

        Args:
            found: what the layer's rule, or a fallback, gave; None where no gradient reached the layer.
            n: number of records.
            failed: whether the rule did not apply, so that their gradient is not known.
        """
        self._lost |= failed
        if self._noted is None and found is not None and found[0] is not None:
            self._noted = (found[0].detach().float(),)
        self._parts.append(n if self._noted is None else self._noted)
        self._noted = None

    def result(self) -> list[RecordGradients]:
        """All that was kept; empty if no gradient ever reached the layer, or not always in one form."""
        like = next((part for part in self._parts if not isinstance(part, int)), None)
        if like is None:
            return []
        shapes = {tuple(one.shape[1:] for one in part) for part in self._parts if not isinstance(part, int)}
        if self._lost or len(shapes) > 1:
            return []
        filled = [
            tuple(one.new_zeros(part, *one.shape[1:]) for one in like) if isinstance(part, int) else part
            for part in self._parts
        ]
        whole = [torch.cat(same) for same in zip(*filled)]
        if len(whole) == 1:
            return self.sketch.split(whole[0])
        if isinstance(self._layer.module, nn.Embedding):
            return [UsedRows(whole[0], whole[1], self._layer.module.num_embeddings)]
        return [Factors(whole[0], whole[1])]


def kept_sketch(layer: Layer, seed: int, device: torch.device) -> KeptSketch:
    """The matrices that are kept of a layer that has no factors."""
    sketch = KeptSketch(layer.name, layer.shapes, seed)
    sketch.to(device)
    return sketch


def as_kept(
    sketch: KeptSketch, names: Sequence[str], kept: Sequence[RecordGradients], grads: Mapping[str, Tensor]
) -> list[Tensor]:
    """Explicit gradients of batches in the form in which those of records are kept: matrices `(g, rows, columns)`.

    Args:
        sketch: of the layer.
        names: of its parameters, the weight first.
        kept: the layer's matrices of records.
        grads: gradients by parameter name, `(g, *shape)`.
    """
    if len(kept) == 1 and not isinstance(kept[0], Dense):
        columns = [grads[name].float().reshape(len(grads[name]), kept[0].shape[0], -1) for name in names]
        return [torch.cat(columns, 2)]
    flat = torch.split(sketch(grads), [rows * columns for rows, columns in sketch.sizes], 1)
    return [part.reshape(-1, *size) for part, size in zip(flat, sketch.sizes)]


def _factors(layer: Layer, calls: Sequence[ModuleCall], n: int) -> tuple[Tensor, ...] | None:
    """What the gradient is a product of, where that is fewer numbers than the matrix; None where it is not."""
    module = layer.module
    if "weight" not in layer.parameters or type(calls[0]) is not ModuleCall:
        return None
    if isinstance(module, nn.Embedding):
        if module.weight.numel() <= WHOLE:
            return None
        return looked_up(module, calls, n)
    if not isinstance(module, nn.Linear) or any(call.input.dim() < 2 for call in calls):
        return None
    left, right = (all_positions(x, n) for x in ([call.grad for call in calls], [call.input for call in calls]))
    length, rows, columns = left.shape[1], left.shape[2], right.shape[2]
    if length > min(rows, columns) or length * (rows + columns) > FACTORS:
        return None
    if "bias" in layer.parameters:
        right = torch.cat([right, right.new_ones(*right.shape[:2], 1)], 2)
    return left, right


def _size(block: object) -> tuple[int, int]:
    if isinstance(block, MatrixBlock):
        return len(block.left), len(block.right)
    assert isinstance(block, VectorBlock)
    return 1, len(block.matrix)


def _is_whole(block: object) -> bool:
    if isinstance(block, MatrixBlock):
        return len(block.left) == block.left.shape[1] and len(block.right) == (
            block.right.shape[1] + (block.corner is not None)
        )
    assert isinstance(block, VectorBlock)
    return len(block.matrix) == block.matrix.shape[1]
