"""Row space, column space and rank drop: what a sum of few outer products says of each of its terms.

The gradient of a linear layer over a batch is G = sum of d_i a_i^T. While its terms do not exceed its rank, every
input a_i lies in the row space of G and every output gradient d_i in the column space (the span checks of SPEAR, arXiv
2403.03945, and DAGER, arXiv 2405.15586), and the rank of G - d a^T is smaller by one exactly where a^T G^+ d = 1
(Wedderburn's rank reduction). All three are read from a truncated singular value decomposition of G.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ptaudit.gradients.matrices import Factors, RecordGradients

ROUNDING = 2e-8
"""Singular values below this share of the largest are lost in float32 sums: each entry is off by up to 6e-8 of itself,
which spread over all of them is a matrix of a much smaller norm."""

SPARE = 8
"""Directions more than the rank that the range finder looks at (Halko, Martinsson and Tropp, SIAM Review 53, 2011)."""

LEAST = 1e-16


@dataclass(frozen=True)
class Spectrum:
    """The leading singular triplets of G batches; those that are lost are 0.

    Attributes:
        left: `(G, rows, r)` float64.
        values: `(G, r)`, largest first.
        right: `(G, columns, r)` float64.
        floor: the smallest singular value that could be told from rounding and noise, `(G, 1)`.
    """

    left: Tensor
    values: Tensor
    right: Tensor
    floor: Tensor


def applies(one: RecordGradients, size: int) -> bool:
    """Whether the terms of so many records can be fewer than the rank."""
    return isinstance(one, Factors) and size * one.positions <= min(one.shape)


def spectrum(batch: Tensor, terms: int, noise_std: float) -> Spectrum:
    """The subspaces of sums of so many outer products.

    Args:
        batch: `(G, rows, columns)` float32.
        terms: outer products in each.
        noise_std: of the noise on every entry; its largest singular value is about noise_std (sqrt rows + sqrt columns)
            (Davidson and Szarek, 2001).
    """
    whole = batch.double()
    rows, columns = batch.shape[1:]
    width = min(terms + SPARE, rows, columns)
    probe = torch.randn(columns, width, generator=torch.Generator().manual_seed(terms), dtype=torch.float64)
    basis, _ = torch.linalg.qr(whole @ probe.to(whole))
    small = basis.mT @ whole
    wide, core = torch.linalg.qr(small.mT)  # small = core^T wide^T; squares would lose all below 1e-8 of the largest
    turn, values, across = torch.linalg.svd(core.mT, full_matrices=False)
    turn, values, right = turn[..., :terms], values[:, :terms], wide @ across.mT[..., :terms]
    floor = (ROUNDING * values[:, :1]).clamp_min(noise_std * (rows**0.5 + columns**0.5)).clamp_min(1e-200)
    kept = (values > floor).to(values)
    return Spectrum(basis @ turn * kept[:, None], values * kept, right * kept[:, None], floor)


def statistics(batch: Tensor, one: Factors, candidates: Tensor, size: int, noise_std: float) -> list[Tensor]:
    """Decimal logarithms: visibility of each candidate; its distance from row space, column space and from rank drop.

    Args:
        batch: `(G, rows, columns)`.
        one: gradients of the records.
        candidates: indices of records, `(K,)` for all games or `(G, K)`.
        size: records in a batch.
        noise_std: of the noise on every entry.

    Returns:
        Four tensors `(G, K)` float32; distances are relative, in units of the candidate's own size.
    """
    found = spectrum(batch, size * one.positions, noise_std)
    left, right = one.left[candidates].double(), one.right[candidates].double()  # (..., K, P, rows or columns)
    outside, inside = right.square().sum(-1), left.square().sum(-1)
    along_right = _within(right, found.right)
    along_left = _within(left, found.left)
    weight = outside * inside
    total = weight.sum(-1).clamp_min(1e-200)
    from_rows = ((outside - along_right.square().sum(-1)).clamp_min(0.0) * inside).sum(-1) / total
    from_columns = ((inside - along_left.square().sum(-1)).clamp_min(0.0) * outside).sum(-1) / total
    inverse = torch.where(found.values > 0.0, 1.0 / found.values.clamp_min(1e-200), 0.0)[:, None, None]
    drop = (1.0 - (along_left * along_right * inverse).sum(-1).mean(-1)).abs()
    visible = total.sqrt() / found.floor
    return [_log(visible.expand_as(drop)), _log(from_rows) / 2.0, _log(from_columns) / 2.0, _log(drop)]


def _within(vectors: Tensor, basis: Tensor) -> Tensor:
    """Coordinates `(G, K, P, r)` of vectors `(..., K, P, d)` in orthonormal columns `(G, d, r)`."""
    k, positions = vectors.shape[-3:-1]
    flat = vectors.flatten(-3, -2)
    if flat.dim() == 3:
        return torch.unflatten(flat @ basis, 1, (k, positions))
    games, d, r = basis.shape
    found = flat @ basis.transpose(0, 1).reshape(d, games * r)  # one product for all games
    return found.view(k, positions, games, r).permute(2, 0, 1, 3)


def _log(values: Tensor) -> Tensor:
    return values.clamp_min(LEAST).log10().float()
