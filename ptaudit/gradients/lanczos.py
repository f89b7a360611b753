"""The largest eigenvalue of positive semidefinite matrices that are known by their products alone."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

_NOTHING = 1e-10
"""Share of a matrix's size below which what is left of a vector is rounding: the Krylov space is exhausted."""


def largest_ritz_value(product: Callable[[Tensor], Tensor], start: Tensor, steps: int) -> Tensor:
    """The largest Ritz values of n matrices after some steps of Lanczos' method: lower bounds on their eigenvalues.

    With full reorthogonalisation, in float64, which for a few steps costs little and keeps rounding out.

    Args:
        product: A v of every matrix: `(n, d)` to `(n, d)`.
        start: first vectors, `(n, d)`, not 0; drawn uniformly over directions for `relative_gap` to hold.
        steps: products with each matrix (k); more than d tell no more.

    Returns:
        `(n,)`, float64.
    """
    steps = min(steps, start.shape[1])
    v = start.double() / start.double().norm(dim=1, keepdim=True)
    basis = [v]
    diagonal: list[Tensor] = []
    beside: list[Tensor] = []
    for k in range(steps):
        w = product(basis[k].to(start.dtype)).double()
        diagonal.append((w * basis[k]).sum(1))
        known = torch.stack(basis, 1)
        for _ in range(2):
            w = w - torch.einsum("nk,nkd->nd", torch.einsum("nkd,nd->nk", known, w), known)
        size = w.norm(dim=1)
        scale = torch.stack([x.abs() for x in (*diagonal, *beside)]).amax(0)
        size = torch.where(size > _NOTHING * scale, size, 0.0)
        beside.append(size)
        basis.append(torch.where(size[:, None] > 0.0, w / size.clamp_min(1e-300)[:, None], 0.0))
    tridiagonal = torch.diag_embed(torch.stack(diagonal, 1))
    if steps > 1:
        off = torch.diag_embed(torch.stack(beside[:-1], 1), offset=1)
        tridiagonal = tridiagonal + off + off.mT
    values: Tensor = torch.linalg.eigvalsh(tridiagonal)
    return values[:, -1].clamp_min(0.0)


def relative_gap(steps: int, d: int, error: float) -> float:
    """How far the largest Ritz value may be below the largest eigenvalue, as a share of it.

    Kuczynski and Wozniakowski 1992, theorem 4.2: from a start that is uniform over directions, the gap after k steps is
    more than a share x with probability at most 1.648 sqrt(d) exp(-sqrt(x) (2k - 1)), whatever the matrix is.

    Args:
        steps: products with the matrix (k).
        d: its size.
        error: probability with which the gap may be larger.

    Returns:
        Between 0 (all of the space was seen) and 1 (nothing can be said).
    """
    if steps >= d:
        return 0.0
    return min(1.0, (math.log(1.648 * math.sqrt(d) / error) / (2 * steps - 1)) ** 2)
