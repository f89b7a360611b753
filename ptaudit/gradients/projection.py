"""Random projections of a layer's gradient: unbiased inner products in `dim` numbers.

A matrix gradient G (rows x columns, a bias as its last column) becomes (R_left G) R_right^T; the rest of a layer's
parameters are one vector that becomes R v. Entries have variance 1/k for k output numbers, so the expected squared
norm of a token is that of the gradient, whatever the layer's shape (Johnson and Lindenstrauss; for the two-sided
product Park et al., TRAK, arXiv 2303.14186, use the same idea). Where a dimension fits, its projection is an isometry.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional as F

WIDEST_VECTOR = 1 << 14
"""A longer vector is folded to a square and projected on both sides, or its projection would be dim times as large."""


def generator_for(*key: object) -> torch.Generator:
    """A CPU generator that depends on the key alone, the same on every machine."""
    digest = hashlib.sha256("\x1f".join(map(str, key)).encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "little") >> 1)


def projection(size: int, dimension: int, generator: torch.Generator) -> Tensor:
    """A (size, dimension) projection: Gaussian of variance 1/size, or orthonormal columns where `dimension` fits.

    The orthonormal columns are Haar distributed (QR with the signs made unique; Mezzadri, math-ph/0609050), so that
    independent projections have inner products of mean zero.
    """
    entries = torch.randn(size, dimension, generator=generator, dtype=torch.float64)
    if dimension > size:
        return (entries / math.sqrt(size)).float()
    q, r = torch.linalg.qr(entries)
    unique: Tensor = q * r.diagonal().sign()
    return unique.float().contiguous()


class Block(Protocol):
    """A part of a layer's parameters that is projected as one matrix or vector."""

    def __call__(self, grads: Mapping[str, Tensor]) -> Tensor:
        """Tokens (n, dim) of gradients (n, ...) by parameter name."""

    def to(self, device: torch.device) -> Block:
        """The same block on another device."""


@dataclass(frozen=True)
class MatrixBlock:
    """[W | b] projected on both sides.

    Attributes:
        weight: name of the parameter with rows in dimension 0.
        bias: name of the parameter with one number per row, or None.
        left: (side, rows).
        right: (side, columns).
        corner: (side,) the column of the right projection that belongs to the bias, or None.
        factors: for a separable projection of a kernel (side, channels) and (side, positions), whose products for each
            row are `right`.
    """

    weight: str
    bias: str | None
    left: Tensor
    right: Tensor
    corner: Tensor | None
    factors: tuple[Tensor, Tensor] | None = None

    def __call__(self, grads: Mapping[str, Tensor]) -> Tensor:
        """Tokens (n, side * side)."""
        weight = grads[self.weight].float()
        matrix = weight.reshape(len(weight), self.left.shape[1], self.right.shape[1])
        token = self.left @ (matrix @ self.right.T)
        if self.bias is not None and self.corner is not None:
            token = token + (grads[self.bias].float() @ self.left.T).unsqueeze(2) * self.corner
        return token.flatten(1)

    def to(self, device: torch.device) -> MatrixBlock:
        """The same block on another device."""
        corner = None if self.corner is None else self.corner.to(device)
        factors = None if self.factors is None else (self.factors[0].to(device), self.factors[1].to(device))
        return MatrixBlock(self.weight, self.bias, self.left.to(device), self.right.to(device), corner, factors)


@dataclass(frozen=True)
class VectorBlock:
    """Several parameters as one vector, with `matrix` of shape (dim, length)."""

    names: tuple[str, ...]
    matrix: Tensor

    def __call__(self, grads: Mapping[str, Tensor]) -> Tensor:
        """Tokens (n, dim)."""
        return _flat(grads, self.names) @ self.matrix.T

    def to(self, device: torch.device) -> VectorBlock:
        """The same block on another device."""
        return VectorBlock(self.names, self.matrix.to(device))


@dataclass(frozen=True)
class FoldedBlock:
    """Several parameters as one long vector, folded to a square (padded with zeros) and projected on both sides."""

    names: tuple[str, ...]
    left: Tensor
    right: Tensor

    def __call__(self, grads: Mapping[str, Tensor]) -> Tensor:
        """Tokens (n, side * side)."""
        vector = _flat(grads, self.names)
        rows, columns = self.left.shape[1], self.right.shape[1]
        square = F.pad(vector, (0, rows * columns - vector.shape[1])).view(-1, rows, columns)
        return (self.left @ (square @ self.right.T)).flatten(1)

    def to(self, device: torch.device) -> FoldedBlock:
        """The same block on another device."""
        return FoldedBlock(self.names, self.left.to(device), self.right.to(device))


class LayerSketch:
    """The projection of one layer: the sum of the independent projections of its blocks.

    Args:
        name: the layer's name; with the seed and the shapes it is all that the projection depends on.
        shapes: shape of each of the layer's trainable parameters.
        dim: numbers in a token, a perfect square.
        seed: seed of the audit.
        separable: project the kernels of wide convolutions on channels and on positions one after the other, at a
            fraction of the cost. Inner products are unbiased still, their variance is larger (the product of two
            Gaussians has heavier tails).

    Raises:
        ValueError: `dim` is not a perfect square.
    """

    def __init__(
        self, name: str, shapes: Mapping[str, torch.Size], dim: int, seed: int, separable: bool = False
    ) -> None:
        self.dim = dim
        self._separable = separable
        self.side = math.isqrt(dim)
        if self.side**2 != dim or dim < 1:
            raise ValueError(f"the token dimension must be a perfect square, not {dim}")
        self._key: tuple[object, ...] = (seed, name)
        self.blocks: tuple[Block, ...] = tuple(self._blocks(shapes))

    def __call__(self, grads: Mapping[str, Tensor]) -> Tensor:
        """Tokens (n, dim), float32, of explicit per-record gradients: parameter name -> (n, *shape)."""
        tokens = self.blocks[0](grads)
        for block in self.blocks[1:]:
            tokens = tokens + block(grads)
        return tokens

    def spans(self) -> list[tuple[Block, slice]]:
        """Every block and its span in a token: here all of it, for blocks are added up."""
        return [(block, slice(None)) for block in self.blocks]

    def matrix(self, weight: str = "weight") -> MatrixBlock:
        """The block of a weight matrix, for rules that project activations and output gradients instead."""
        for block in self.blocks:
            if isinstance(block, MatrixBlock) and block.weight == weight:
                return block
        raise KeyError(weight)

    def to(self, device: torch.device) -> LayerSketch:
        """Moves the projections, which were drawn on the CPU."""
        self.blocks = tuple(block.to(device) for block in self.blocks)
        return self

    def _blocks(self, shapes: Mapping[str, torch.Size]) -> list[Block]:
        rest = dict(shapes)
        blocks: list[Block] = []
        for name, shape in shapes.items():
            sizes = _without_leading_ones(name, shape)
            if len(sizes) >= 2:
                rest.pop(name)
                partner = name.replace("weight", "bias")
                bias = partner if partner != name and tuple(rest.get(partner, ())) == (sizes[0],) else None
                rest.pop(bias or "", None)
                wide = len(sizes) > 2 and sizes[1] > self.side and math.prod(sizes[2:]) > 1
                build = self._separable_block if self._separable and wide else self._matrix_block
                blocks.append(build(name, bias, sizes[0], sizes[1], math.prod(sizes[2:])))
        if rest:
            blocks.append(self._vector_block(tuple(rest), sum(math.prod(shape) for shape in rest.values())))
        return blocks

    def _draw(self, names: str, part: str, size: int, dimension: int) -> Tensor:
        return projection(size, dimension, generator_for(*self._key, names, part))

    def _separable_block(self, weight: str, bias: str | None, rows: int, channels: int, positions: int) -> MatrixBlock:
        left = self._draw(weight, "left", self.side, rows)
        on_channels = self._draw(weight, "channels", self.side, channels)
        on_positions = torch.randn(self.side, positions, generator=generator_for(*self._key, weight, "positions"))
        corner = self._draw(weight, "bias", self.side, self.side + 1)[:, 0].contiguous() if bias else None
        right = (on_channels[:, :, None] * on_positions[:, None, :]).flatten(1)
        return MatrixBlock(weight, bias, left, right, corner, (on_channels, on_positions))

    def _matrix_block(self, weight: str, bias: str | None, rows: int, channels: int, positions: int) -> MatrixBlock:
        columns = channels * positions
        left = self._draw(weight, "left", self.side, rows)
        right = self._draw(weight, "right", self.side, columns + (bias is not None))
        corner = right[:, columns].contiguous() if bias else None
        return MatrixBlock(weight, bias, left, right[:, :columns].contiguous(), corner)

    def _vector_block(self, names: tuple[str, ...], length: int) -> Block:
        key = ",".join(names)
        if length <= max(WIDEST_VECTOR, self.dim):
            return VectorBlock(names, self._draw(key, "vector", self.dim, length))
        columns = math.isqrt(length)
        rows = -(-length // columns)
        left, right = self._draw(key, "left", self.side, rows), self._draw(key, "right", self.side, columns)
        return FoldedBlock(names, left, right)


def _without_leading_ones(name: str, shape: torch.Size) -> tuple[int, ...]:
    """Drops the batch dimension of parameters like a (1, length, width) position embedding; weights keep their rows."""
    sizes = tuple(shape)
    while name != "weight" and len(sizes) > 1 and sizes[0] == 1:
        sizes = sizes[1:]
    return sizes


def _flat(grads: Mapping[str, Tensor], names: tuple[str, ...]) -> Tensor:
    return torch.cat([grads[name].float().reshape(len(grads[name]), -1) for name in names], dim=1)
