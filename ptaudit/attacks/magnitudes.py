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

RATIOS = 16_384
"""Most numbers of a matrix whose ratios to the last column are looked at."""

SPECTRUM, NARROW = 16, 33
"""Leading singular values, of matrices whose smaller side is at most so wide."""

FARTHEST = 10.0
"""Largest multiple of the last column."""

_BEND = 1e3
"""Share of the norm, inverse, at which numbers with a sign go from a linear to a logarithmic scale."""


def row_numbers(matrices: Sequence[Tensor]) -> list[Tensor]:
    """Numbers about the rows of each matrix of one layer, kind by kind, `(G, f)` float32 each.

    Size; magnitude of rows, of their negative and their positive part; shares of a row that are negative and that are
    0; the last column with its sign, which is that of the bias.

    Args:
        matrices: of G batches, each `(G, rows, columns)` float32.
    """
    return _by_kind([_of_rows(matrix) for matrix in matrices])


def column_numbers(matrices: Sequence[Tensor]) -> list[Tensor]:
    """Numbers about columns, kind by kind, `(G, f)` float32 each.

    Magnitude; share of a column that is 0, which tells how many records use it however small their gradients are; what
    multiple of the last column it is, a weighted mean of the inputs, and mean and spread of that by rows; spectrum; all
    of a small matrix.
    """
    return _by_kind([_of_columns(matrix) for matrix in matrices])


def _by_kind(found: Sequence[list[Tensor]]) -> list[Tensor]:
    """The same kind of all matrices side by side; kinds that not all have come last."""
    kinds = max(len(one) for one in found)
    return [torch.cat([one[kind] for one in found if kind < len(one)], 1) for kind in range(kinds)]


def _of_rows(matrix: Tensor) -> list[Tensor]:
    size, columns = _size(matrix), matrix.shape[2]
    below, above = matrix.clamp_max(0.0), matrix.clamp_min(0.0)
    negative, positive = (part.square().sum(2).sqrt() for part in (below, above))
    last, used, turned = matrix[:, :, -1] / size, *_used(matrix, 2)
    return [
        size.log10(),
        _log((negative.square() + positive.square()).sqrt() / size),
        _log(negative / size),
        _log(positive / size),
        (used - turned) / (2 * columns),
        (columns - used) / columns,
        last.sign() * (_log(last.abs()) - _log(last.new_zeros(()))),
        matrix[:, :, -1],
    ]


def _of_columns(matrix: Tensor) -> list[Tensor]:
    size, (rows, columns) = _size(matrix), matrix.shape[1:]
    used, _ = _used(matrix, 1)
    found = [_log(matrix.square().sum(1).sqrt() / size), (rows - used) / rows, *_shares(matrix)]
    if rows * columns <= RATIOS:
        found += _ratios(matrix)
    if min(rows, columns) <= NARROW:
        found.append(_spectrum(matrix / size[:, None]))
    if rows * columns <= SMALL:
        found.append(torch.asinh(_BEND * matrix.flatten(1) / size))
    return found


def _used(matrix: Tensor, along: int) -> tuple[Tensor, Tensor]:
    """How many entries are not 0, and how many more are positive than negative: sums of signs, faster than of bools."""
    signs = matrix.sgn()
    turned = signs.sum(along)
    return signs.abs_().sum(along), turned


def _ratios(matrix: Tensor) -> list[Tensor]:
    """Mean and spread over rows of x / (1 + |x|) for the ratio x of an entry to the last one of its row."""
    last = matrix[:, :, -1:]
    bent = matrix * last.sign() / (matrix.abs() + last.abs()).clamp_min(1e-38)
    used = (last != 0.0).sum(1).clamp_min(1)
    mean = bent.sum(1) / used
    return [mean, (bent.square().sum(1) / used - mean.square()).clamp_min(0.0).sqrt()]


def _shares(matrix: Tensor) -> list[Tensor]:
    """Every column as a multiple of the last one, by least squares and by signs: what noise leaves of the ratios."""
    last = matrix[:, :, -1]
    found = []
    for weights in (last, last.sign()):
        total = (weights * last).sum(1, keepdim=True).clamp_min(1e-38)
        found.append(((weights[:, None] @ matrix).squeeze(1) / total).clamp(-FARTHEST, FARTHEST))
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
