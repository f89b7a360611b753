"""Gradients of batches as matrices, as an adversary sees them: summed, clipped, with noise on every parameter."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ptaudit.gradients.matrices import RecordGradients

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
