"""Whole records from the gradient of a small batch, where most inputs of the first layer are 0 or 1.

While the gradient has as many singular values as the batch has records, its row space is spanned by their inputs, and a
vector of that space is fixed by as many of its entries as it has dimensions. So all choices of 0 and 1 for so many
entries are tried: what has 0 and 1 at all other binary inputs too, and no two inputs that exclude each other, is a
record of the batch, to the last digit. (Row spaces: SPEAR, arXiv 2403.03945; discrete inputs: TabLeak, arXiv
2210.01785.)
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ptaudit.attacks.span import spectrum

MOST = 12
"""Largest dimension of a row space that is searched: 2^11 vectors."""

TOLERANCE = 0.02
"""Farthest from 0 and 1, and from a number that was seen before."""

RANK = 3e-6
"""Singular values below this share of the largest are rounding."""

FEW = 200
"""Inputs that are not binary and have at most so many different values are held against these."""

OFTEN = 5.0
"""Two inputs exclude each other where so many records would have both by chance, and none has."""

BLOCK = 16
"""Binary inputs that are looked at together."""

WORST = 1e6
"""Largest condition number of the chosen entries."""

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Decoder:
    """What inputs a layer has, as the adversary's own records show.

    Attributes:
        binary: inputs that are 0 or 1, the last of them 1 in all records (the bias), `(b,)`.
        apart: which of them exclude each other, `(b, b)` float32.
        some: other inputs that have few different values, `(v,)`.
        values: these values, padded with infinity, `(v, FEW)` float64.
    """

    binary: Array
    apart: Array
    some: Array
    values: Array

    @classmethod
    def of(cls, inputs: Tensor) -> Decoder | None:
        """Look at inputs of records, `(n, d)`; None where there is no bias, or less than half of them are binary."""
        is_binary = ((inputs == 0.0) | (inputs == 1.0)).all(0)
        if not bool((inputs[:, -1] == 1.0).all()) or 2 * int(is_binary.sum()) <= inputs.shape[1]:
            return None
        binary = torch.nonzero(is_binary).flatten()
        ones = inputs[:, binary].double()
        share = ones.mean(0)
        expected = len(ones) * share[:, None] * share
        apart = (ones.mT @ ones == 0.0) & (expected >= OFTEN)
        different = {int(place): torch.unique(inputs[:, place]) for place in torch.nonzero(~is_binary).flatten()}
        few = {place: found for place, found in different.items() if len(found) <= FEW}
        values = np.full((len(few), FEW), np.inf)
        for row, found in zip(values, few.values()):
            row[: len(found)] = found.cpu().numpy()
        return cls(
            binary.cpu().numpy(), apart.cpu().numpy().astype(np.float64), np.array([*few], dtype=np.int64), values
        )

    def counts(self, batch: Tensor) -> Tensor:
        """How many records are found in each batch, how many of them have each binary input, and what share of them.

        Args:
            batch: gradients of the layer, `(G, rows, d)`.

        Returns:
            `(G, 2 + 4 b)` float32: of all that are found, then of those whose other inputs were seen before too.
        """
        rows = [np.concatenate([_summed(some) for some in self._binaries(found)]) for found in self.records(batch)]
        return torch.from_numpy(np.stack(rows)).float().to(batch.device)

    def records(self, batch: Tensor) -> Iterator[Array]:
        """Inputs of the records that are found in each batch, `(n, d)` float64; none where the rank is too large."""
        rows = torch.linalg.vector_norm(batch, dim=2, keepdim=True)
        equal = torch.where(rows > 0.0, batch / rows.clamp_min(1e-38), 0.0)
        found = spectrum(equal, MOST + 1, 0.0)
        ranks = (found.values > RANK * found.values[:, :1]).sum(1).tolist()
        for rank, right in zip(ranks, found.right.cpu().numpy()):
            yield self._search(right[:, :rank].T) if 0 < rank <= MOST else right.T[:0]

    def _search(self, basis: Array) -> Array:
        """All vectors of a row space, `(r, d)`, that look like a record, `(n, d)`.

        In NumPy: so small products take less time than threads need to meet.
        """
        narrow = basis[:, self.binary]
        chosen = narrow[:, _pivots(narrow)]  # each choice of these entries is one vector, if they determine it
        if np.linalg.cond(chosen) > WORST:
            return basis[:0]
        weights = _choices(len(basis)) @ np.linalg.inv(chosen)
        for columns in range(0, narrow.shape[1], BLOCK):  # most vectors fail at the first few inputs
            part = weights @ narrow[:, columns : columns + BLOCK]
            weights = weights[(np.abs(part - part.round().clip(0.0, 1.0)) < TOLERANCE).all(1)]
        part = (weights @ narrow).round()
        lawful = ((part @ self.apart) * part).sum(1) == 0.0
        found: Array = weights[lawful] @ basis
        return found

    def _binaries(self, found: Array) -> tuple[Array, Array]:
        """Binary inputs of the records that are found, and of those whose other inputs were seen before."""
        binary = found[:, self.binary].round()
        if not len(found) or not len(self.some):
            return binary, binary
        away = np.abs(found[:, self.some, None] - self.values).min(2)
        return binary, binary[(away < TOLERANCE).all(1)]


@cache
def _choices(rank: int) -> Array:
    """All rows of 0 and 1 that begin with 1, `(2^(rank - 1), rank)`."""
    bits = (np.arange(1 << (rank - 1))[:, None] >> np.arange(rank - 1)) & 1
    return np.concatenate([np.ones((len(bits), 1)), bits], 1)


def _summed(binary: Array) -> Array:
    total = binary.sum(0)
    return np.concatenate([[len(binary)], total, total / max(1, len(binary))])


def _pivots(narrow: Array) -> list[int]:
    """As many columns of `(r, b)` as it has rows, far from dependent: the last one, then always the longest rest."""
    rest, chosen = narrow.copy(), [narrow.shape[1] - 1]
    for _ in range(len(narrow) - 1):
        axis = rest[:, chosen[-1]] / max(float(np.linalg.norm(rest[:, chosen[-1]])), 1e-30)
        rest -= np.outer(axis, axis @ rest)
        chosen.append(int((rest**2).sum(0).argmax()))
    return chosen
