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


WORST = 1e6
"""Largest condition number of the chosen entries."""

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Decoder:
    """What inputs a layer has, as the adversary's own records show.

    Attributes:
        binary: inputs that are 0 or 1, the last of them 1 in all records (the bias), `(b,)`.
        apart: which of them exclude each other, `(b, b)` float32.
        values: of some of the other inputs all values that there are, sorted, by input.
    """

    binary: Tensor
    apart: Tensor
    values: tuple[tuple[int, Tensor], ...]

    @classmethod
    def of(cls, inputs: Tensor) -> Decoder | None:
        """Look at inputs of records, `(n, d)`; None where there is no bias, or less than half of them are binary."""
        is_binary = ((inputs == 0.0) | (inputs == 1.0)).all(0)
        if not bool((inputs[:, -1] == 1.0).all()) or 2 * int(is_binary.sum()) <= inputs.shape[1]:
            return None
        binary = torch.nonzero(is_binary).flatten()
        some = inputs[:, binary].double()
        share = some.mean(0)
        expected = len(some) * share[:, None] * share
        apart = ((some.mT @ some == 0.0) & (expected >= OFTEN)).float()
        different = {int(place): torch.unique(inputs[:, place]) for place in torch.nonzero(~is_binary).flatten()}
        values = tuple((place, found.double()) for place, found in different.items() if len(found) <= FEW)
        return cls(binary, apart, values)

    def counts(self, batch: Tensor) -> Tensor:
        """How many records are found in each batch, how many of them have each binary input, and what share of them.

        Args:
            batch: gradients of the layer, `(G, rows, d)`.

        Returns:
            `(G, 2 + 4 b)` float32: of all that are found, then of those whose other inputs were seen before too.
        """
        rows = [torch.cat([_summed(some) for some in self._binaries(found)]) for found in self.records(batch)]
        return torch.stack(rows).float().to(batch.device)

    def records(self, batch: Tensor) -> Iterator[Tensor]:
        """Inputs of the records that are found in each batch, `(n, d)` float64; none where the rank is too large."""
        rows = torch.linalg.vector_norm(batch, dim=2, keepdim=True)
        equal = torch.where(rows > 0.0, batch / rows.clamp_min(1e-38), 0.0)
        found = spectrum(equal, MOST + 1, 0.0)
        ranks = (found.values > RANK * found.values[:, :1]).sum(1).tolist()
        for rank, right in zip(ranks, found.right.cpu().numpy()):
            yield torch.from_numpy(self._search(right[:, :rank].T) if 0 < rank <= MOST else right.T[:0])

    def _search(self, basis: Array) -> Array:
        """All vectors of a row space, `(r, d)`, that look like a record, `(n, d)`.

        In NumPy: so small products take less time than threads need to meet.
        """
        rank, narrow = len(basis), basis[:, self.binary.numpy()]
        bits = (np.arange(1 << (rank - 1))[:, None] >> np.arange(rank - 1)) & 1
        tried = np.concatenate([np.ones((len(bits), 1)), bits], 1)
        # Each choice of entries is one vector of the space, if the entries determine it.
        chosen = narrow[:, _pivots(narrow)]
        if np.linalg.cond(chosen) > WORST:
            return basis[:0]
        weights = tried @ np.linalg.inv(chosen)
        part = weights @ narrow
        fine = np.minimum(np.abs(part), np.abs(part - 1.0)).max(1) < TOLERANCE
        part, weights = part[fine].round(), weights[fine]
        lawful = ((part @ self.apart.numpy()) * part).sum(1) == 0.0
        found: Array = weights[lawful] @ basis
        return found

    def _binaries(self, found: Tensor) -> Iterator[Tensor]:
        known = torch.ones(len(found), dtype=torch.bool)
        for place, values in self.values:
            at = torch.searchsorted(values, found[:, place].contiguous()).clamp(1, max(1, len(values) - 1))
            near = torch.minimum((values[at.clamp_max(len(values) - 1)] - found[:, place]).abs(),
                                 (values[at - 1] - found[:, place]).abs())  # fmt: skip
            known &= near < TOLERANCE
        for some in (found, found[known]):
            yield some[:, self.binary].round()


def _summed(binary: Tensor) -> Tensor:
    total = binary.sum(0)
    return torch.cat([binary.new_tensor([len(binary)]), total, total / max(1, len(binary))])


def _pivots(narrow: Array) -> list[int]:
    """As many columns of `(r, b)` as it has rows, far from dependent: the last one, then always the longest rest."""
    rest, chosen = narrow.copy(), [narrow.shape[1] - 1]
    for _ in range(len(narrow) - 1):
        axis = rest[:, chosen[-1]] / max(float(np.linalg.norm(rest[:, chosen[-1]])), 1e-30)
        rest -= np.outer(axis, axis @ rest)
        chosen.append(int((rest**2).sum(0).argmax()))
    return chosen
