"""Per-record gradients of one layer as matrices (rows x columns, a bias as last column), kept so that sums are exact.

A gradient is not a cloud of numbers: that of a linear layer is a sum of outer products, its zero rows and columns say
which units and inputs no record used. What is kept here keeps that algebra: the factors of layers with few positions,
the whole matrix of small layers, the rows in use of embeddings; of other layers the rows as they are, with columns
projected.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import Any

import torch
from torch import Tensor


class RecordGradients(ABC):
    """The gradients of N records in one matrix of a layer's parameters.

    Attributes:
        whole: whether this is all of the matrix: neither side is projected.
    """

    whole: bool

    @property
    @abstractmethod
    def shape(self) -> tuple[int, int]:
        """Rows and columns of the matrix."""

    @abstractmethod
    def sums(self, members: Tensor) -> Tensor:
        """Sums over batches of records `(G, m)`, in the precision of training: `(G, rows, columns)` float32."""

    @abstractmethod
    def scaled(self, factor: Tensor) -> RecordGradients:
        """The same with every record's gradient times its factor, `(N,)`: clipping."""

    def norms(self) -> Tensor:
        """Frobenius norm of every record's matrix, `(N,)` float32."""
        return self._norms

    @cached_property
    @abstractmethod
    def _norms(self) -> Tensor: ...

    @property
    def tensors(self) -> dict[str, Tensor]:
        """What it is made of, each with a row per record."""
        every: Any = self
        return {f.name: x for f in fields(every) if isinstance(x := getattr(self, f.name), Tensor)}


@dataclass(frozen=True)
class Factors(RecordGradients):
    """Gradients as sums of few outer products, exact: G_i = sum over positions p of left[i, p] right[i, p]^T.

    Attributes:
        left: gradients with respect to the layer's outputs, `(N, P, rows)` float32.
        right: the layer's inputs, with 1 as last entry where there is a bias, `(N, P, columns)` float32.
    """

    left: Tensor
    right: Tensor
    whole: bool = True

    @property
    def shape(self) -> tuple[int, int]:
        """See `RecordGradients`."""
        return self.left.shape[2], self.right.shape[2]

    @property
    def positions(self) -> int:
        """Outer products of one record (P)."""
        return self.left.shape[1]

    def sums(self, members: Tensor) -> Tensor:
        """See `RecordGradients`."""
        left, right = self.left[members].flatten(1, 2), self.right[members].flatten(1, 2)
        return left.mT @ right

    def scaled(self, factor: Tensor) -> Factors:
        """See `RecordGradients`."""
        return replace(self, left=self.left * factor.to(self.left)[:, None, None])

    @cached_property
    def _norms(self) -> Tensor:
        gram = (self.left @ self.left.mT) * (self.right @ self.right.mT)
        norms: Tensor = gram.sum((1, 2)).clamp_min(0.0).sqrt()
        return norms


@dataclass(frozen=True)
class Dense(RecordGradients):
    """Gradients as explicit matrices.

    Attributes:
        values: `(N, rows, columns)` float32.
        whole: whether neither side is projected.
    """

    values: Tensor
    whole: bool = True

    @property
    def shape(self) -> tuple[int, int]:
        """See `RecordGradients`."""
        return self.values.shape[1], self.values.shape[2]

    def sums(self, members: Tensor) -> Tensor:
        """See `RecordGradients`."""
        n, rows, columns = self.values.shape
        flat = self.values.view(n, rows * columns)
        total = torch.nn.functional.embedding_bag(members.to(flat.device), flat, mode="sum")
        return total.view(len(members), rows, columns)

    def scaled(self, factor: Tensor) -> Dense:
        """See `RecordGradients`."""
        return replace(self, values=self.values * factor.to(self.values)[:, None, None])

    @cached_property
    def _norms(self) -> Tensor:
        norms: Tensor = torch.linalg.matrix_norm(self.values)
        return norms


@dataclass(frozen=True)
class UsedRows(RecordGradients):
    """Gradients of an embedding: a row for every entry that occurs in the record, exact.

    Attributes:
        index: the entries, `(N, P)` int64; the same one more than once where a record repeats it.
        grads: the gradient at each position, `(N, P, width)` float32; 0 where it is padding.
        entries: number of entries of the table.
    """

    index: Tensor
    grads: Tensor
    entries: int
    whole: bool = True

    @property
    def shape(self) -> tuple[int, int]:
        """See `RecordGradients`."""
        return self.entries, self.grads.shape[2]

    def sums(self, members: Tensor) -> Tensor:
        """See `RecordGradients`."""
        index, grads = self.index[members].flatten(1), self.grads[members].flatten(1, 2)
        total = grads.new_zeros(len(members), *self.shape)
        return total.scatter_add_(1, index[..., None].expand_as(grads), grads)

    def scaled(self, factor: Tensor) -> UsedRows:
        """See `RecordGradients`."""
        return replace(self, grads=self.grads * factor.to(self.grads)[:, None, None])

    @cached_property
    def _norms(self) -> Tensor:
        norms: Tensor = torch.linalg.matrix_norm(self.rows_of(torch.arange(len(self.index)))[1])
        return norms

    def rows_of(self, records: Tensor) -> tuple[Tensor, Tensor]:
        """Entries of some records and the gradient of each, at its first position: `(n, P)`, `(n, P, width)`.

        Where a record repeats an entry the later positions are 0.
        """
        index, grads = self.index[records], self.grads[records]
        same = index[:, :, None] == index[:, None, :]
        first = same.float().argmax(2) == torch.arange(index.shape[1], device=index.device)
        return index, (same.to(grads) @ grads) * first[..., None]


def joined(parts: Sequence[Sequence[RecordGradients]]) -> list[RecordGradients]:
    """The matrices of one layer for several sets of records, one set after the other.

    Empty where the sets do not keep the layer in one form.
    """
    found: list[RecordGradients] = []
    for same in zip(*parts):
        first = same[0]
        if any(type(one) is not type(first) or one.shape != first.shape for one in same):
            return []
        found.append(_with(first, {n: torch.cat([one.tensors[n] for one in same]) for n in first.tensors}))
    return found


def first(one: RecordGradients, n: int) -> RecordGradients:
    """The matrices of the first n records."""
    return _with(one, {name: x[:n] for name, x in one.tensors.items()})


def _with(one: Any, tensors: dict[str, Tensor]) -> RecordGradients:
    found: RecordGradients = replace(one, **tensors)
    return found


Matrices = list[list[Tensor]]
"""For each layer its matrices, each `(G, rows, columns)` float32."""

CELLS = 1 << 23
"""Numbers of the matrices of one piece."""


@dataclass(frozen=True)
class BatchSums:
    """Sums of the records' gradients and noise on them: what a view shows that adds up.

    Attributes:
        layers: for each layer the matrices of its N records.
        noise_std: standard deviation of the noise on every parameter of the sum.
        cells: numbers of the matrices of one piece.
    """

    layers: Sequence[Sequence[RecordGradients]]
    noise_std: float = 0.0
    cells: int = CELLS

    def read(self, members: Tensor, generator: torch.Generator) -> Iterator[Matrices]:
        """Matrices of batches `(G, m)` in pieces that bound memory, in order."""
        for piece in torch.split(members, at_once(self.layers, members.shape[1], self.cells)):
            yield [[self._noisy(one.sums(piece), generator) for one in layer] for layer in self.layers]

    def clipped(self, factor: Tensor) -> BatchSums:
        """With each record's whole gradient times its factor, `(N,)`."""
        return replace(self, layers=[[one.scaled(factor) for one in layer] for layer in self.layers])

    def only(self, places: Sequence[int]) -> BatchSums:
        """Some layers."""
        return replace(self, layers=[self.layers[place] for place in places])

    def _noisy(self, total: Tensor, generator: torch.Generator) -> Tensor:
        if self.noise_std == 0.0:
            return total
        return total + self.noise_std * torch.randn(total.shape, generator=generator).to(total)


def at_once(layers: Sequence[Sequence[RecordGradients]], size: int, cells: int = CELLS) -> int:
    """Batches of so many records whose matrices, and what they are made of, are so many numbers together."""
    return max(1, min(256, cells // max(1, cells_of(layers, size))))


def cells_of(layers: Sequence[Sequence[RecordGradients]], size: int) -> int:
    """Numbers of the matrices of a batch of so many records, and of what they are made of."""
    return sum(
        rows * columns + size * (rows + columns) for layer in layers for rows, columns in (one.shape for one in layer)
    )
