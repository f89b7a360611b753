"""Squared norms of gradients that are sums of outer products, without building them where that is dearer.

Here `a` is (batch, in, positions) and `g` is (batch, out, positions); the gradient is g a^T, with the sums of g as
its bias column. The ghost norm is that of Goodfellow (arXiv 1510.01799), for positions Li et al. (arXiv 2110.05679).
"""

from __future__ import annotations

from torch import Tensor


def ghost_is_cheaper(positions: int, rows: int, columns: int) -> bool:
    """Whether the two Gram matrices over positions cost less than the product (counted in multiplications)."""
    return positions * (rows + columns) <= rows * columns


def ghost_norm_sq(a: Tensor, g: Tensor, bias: bool) -> Tensor:
    """Squared norms (batch,) as the sum over pairs of positions of <a_s, a_t> <g_s, g_t>."""
    gram = a.mT @ a
    if bias:
        gram = gram + 1
    return (gram * (g.mT @ g)).sum((1, 2)).clamp_min(0)
