"""Numbers about a batch's gradient that a plain classifier can use: magnitudes, zero patterns, signs, spectrum.

A row or column that no record uses is exactly 0, and so is the negative part of a row that only sums of non-negative
terms reach: that of the last layer for a class nobody has, where the layer below is a ReLU. Elliptical densities of the
gradient as a vector do not see this; on a logarithmic scale with a floor a hyperplane does. What signs and pruning
leave of a gradient is a function of these numbers, so a defended view holds nothing that is not here.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

FLOOR = 1e-9
"""Smallest magnitude, as a share of the layer's norm: a float32 sum of a used row does not come so low."""

SMALL = 512
"""Matrices with at most so many numbers are also shown number by number."""

SPECTRUM, NARROW = 16, 33
"""Leading singular values, of matrices whose smaller side is at most so wide."""

_BEND = 1e3
"""Share of the norm, inverse, at which numbers with a sign go from a linear to a logarithmic scale."""


def row_numbers(matrices: Sequence[Tensor]) -> Tensor:
    """Size of each matrix of one layer; magnitude and signs of its rows and of its last column: `(G, f)` float32.

    Args:
        matrices: of G batches, each `(G, rows, columns)` float32.
    """
    return torch.cat([part for matrix in matrices for part in _of_rows(matrix)], 1)


def column_numbers(matrices: Sequence[Tensor]) -> Tensor:
    """Magnitudes of columns, spectrum, and where there are few numbers, all of them: `(G, f)` float32."""
    return torch.cat([part for matrix in matrices for part in _of_columns(matrix)], 1)


def _of_rows(matrix: Tensor) -> list[Tensor]:
    size = _size(matrix)
    below, above = matrix.clamp_max(0.0), matrix.clamp_min(0.0)
    negative, positive = (torch.linalg.vector_norm(part, dim=2) for part in (below, above))
    last = matrix[:, :, -1] / size
    return [
        size.log10(),
        _log((negative.square() + positive.square()).sqrt() / size),
        _log(negative / size),
        _log(positive / size),
        (below < 0.0).sum(2) / matrix.shape[2],
        last.sign() * (_log(last.abs()) - _log(last.new_zeros(()))),
    ]


def _of_columns(matrix: Tensor) -> list[Tensor]:
    size = _size(matrix)
    found = [_log(torch.linalg.vector_norm(matrix, dim=1) / size)]
    if min(matrix.shape[1:]) <= NARROW:
        found.append(_spectrum(matrix / size[:, None]))
    if matrix[0].numel() <= SMALL:
        found.append(torch.asinh(_BEND * matrix.flatten(1) / size))
    return found


def _spectrum(relative: Tensor) -> Tensor:
    short = (relative if relative.shape[1] <= relative.shape[2] else relative.mT).double()
    squares = torch.linalg.eigvalsh(short @ short.mT).flip(-1)[:, :SPECTRUM]
    return _log(squares.clamp_min(0.0).sqrt()).float()


def _size(matrix: Tensor) -> Tensor:
    """Norm of every batch's matrix, `(G, 1)`."""
    size: Tensor = torch.linalg.matrix_norm(matrix)
    return size.clamp_min(1e-30)[:, None]


def _log(share: Tensor) -> Tensor:
    return share.clamp_min(FLOOR).log10()
