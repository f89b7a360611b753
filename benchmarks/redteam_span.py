"""Evidence that a known record is in a sum of gradients, from the algebra of the layers.

A linear layer's gradient of a batch is G = sum_i d_i a_i^T. While G has more rank than records, every a_i lies in its
row space, every d_i in its column space, and a_i^T G^+ d_i = 1: taking the record out lowers the rank. Rows and columns
that are exactly 0 exclude who would have used them; a row that one record alone has used is that record's own.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from redteam_world import Array

TOLERANCES = (3e-7, 1e-5, 1e-3)
"""Singular values below these shares of the largest count as rounding of float32 sums, or as too weak to use."""

TINY = 1e-16
MATCH = 1e-3
"""Relative distance below which a row of the batch is the candidate's own."""


@dataclass(frozen=True)
class Sides:
    """K candidates in one layer: inputs `a (K, in)` and errors `d (K, out)` of the one product."""

    a: Array
    d: Array


def span_evidence(G: Array, known: Sides, floor: float = 0.0) -> Array:
    """How every candidate fits the gradient of a batch in one layer, `(K, features)`.

    Args:
        G: gradient of the batch, `(out, in)`.
        known: the candidates.
        floor: singular values below it are noise (of known size).
    """
    rows, columns = np.linalg.norm(G, axis=1), np.linalg.norm(G, axis=0)
    size = np.linalg.norm(known.a, axis=1) * np.linalg.norm(known.d, axis=1)
    strength = np.log10(size / (np.linalg.norm(G) + TINY) + TINY)
    out = [strength, _outside(known.d, rows), _outside(known.a, columns)]
    out += _matches(G, known, rows) + _matches(G.T, Sides(known.d, known.a), columns)
    out += _projections(G, known, floor) if rows.any() else [np.zeros(len(size))] * (3 * len(TOLERANCES) + 1)
    return np.stack(out, 1)


def _outside(side: Array, norms: Array) -> Array:
    """How many units a candidate would have used that nobody has."""
    return np.log1p(((side != 0.0) & (norms == 0.0)).sum(1))


def _matches(G: Array, known: Sides, norms: Array) -> list[Array]:
    """Rows of the batch that are the candidate's own: the best relative distance, and how many are."""
    mine = np.linalg.norm(known.a, axis=1)[:, None] * np.abs(known.d)
    distance = norms**2 - 2.0 * known.d * (known.a @ G.T) + mine**2
    used = mine > 0.0
    relative = np.sqrt(np.maximum(distance, 0.0)) / np.where(used, mine, 1.0)
    relative[~used] = np.inf
    best = np.log10(np.clip(relative.min(1), 1e-9, 1e9))
    energy = (mine**2).sum(1) + TINY**2
    return [best, ((relative < MATCH) * mine**2).sum(1) / energy, np.log1p((relative < MATCH).sum(1))]


def _projections(G: Array, known: Sides, floor: float) -> list[Array]:
    """Residuals against row and column space, and how far taking the candidate out is from lowering the rank.

    Rows and columns are brought to equal size first: rounding is relative to what was summed in a row or column, so
    that those which few records have used say more than they would otherwise.
    """
    left, right = _scales(G, floor)
    keep_rows, keep_columns = left > 0.0, right > 0.0
    if not keep_rows.any() or not keep_columns.any():
        return [np.zeros(len(known.a))] * (3 * len(TOLERANCES) + 1)
    left, right = left[keep_rows], right[keep_columns]
    M = left[:, None] * G[np.ix_(keep_rows, keep_columns)] * right
    a, d = known.a[:, keep_columns] * right, known.d[:, keep_rows] * left
    U, s, Vt = np.linalg.svd(M, full_matrices=False)
    out = []
    ranks = [int((s > tolerance * s[0]).sum()) for tolerance in TOLERANCES]
    if floor > 0.0:
        ranks[0] = max(1, int((s > floor * np.median(left) * np.median(right)).sum()))
    for rank in ranks:
        on_a, on_d = a @ Vt[:rank].T, d @ U[:, :rank]
        drop = np.abs(1.0 - ((on_a / s[:rank]) * on_d).sum(1))
        out += [_residual(a, on_a, Vt[:rank]), _residual(d, on_d, U[:, :rank].T), _log(drop)]
    return [*out, np.full(len(a), ranks[0] / min(M.shape))]


def _scales(G: Array, floor: float) -> tuple[Array, Array]:
    if floor > 0.0:  # noise has the same size everywhere: so it should stay
        return np.ones(len(G)), np.ones(G.shape[1])
    rows = np.linalg.norm(G, axis=1)
    left = np.divide(1.0, rows, out=np.zeros_like(rows), where=rows > 0.0)
    columns = np.linalg.norm(left[:, None] * G, axis=0)
    return left, np.divide(1.0, columns, out=np.zeros_like(columns), where=columns > 0.0)


def _residual(x: Array, on: Array, basis: Array) -> Array:
    size = np.linalg.norm(x, axis=1)
    return _log(np.linalg.norm(x - on @ basis, axis=1) / np.where(size > 0.0, size, 1.0))


def _log(x: Array) -> Array:
    return np.log10(np.clip(x, 1e-12, 1e6))


def row_evidence(G: Array, rows: Array, values: Array) -> Array:
    """How every candidate fits a layer of which it uses a few rows, as of an embedding, `(K, features)`.

    Args:
        G: gradient of the batch, `(V, width)`.
        rows: rows that each candidate uses, padded with -1, `(K, L)`.
        values: its gradient there, `(K, L, width)`.
    """
    norms = np.linalg.norm(G, axis=1)
    used = rows >= 0
    there = np.where(used, rows, 0).astype(np.int64)
    mine = np.linalg.norm(values, axis=2)
    relative = np.linalg.norm(G[there] - values, axis=2) / np.where(mine > 0.0, mine, 1.0)
    relative[~used | (mine == 0.0)] = np.inf
    missing = (used & (mine > 0.0) & (norms[there] == 0.0)).sum(1)
    own = relative < MATCH
    share = (own * mine**2).sum(1) / ((mine**2).sum(1) + TINY**2)
    best = np.log10(np.clip(relative.min(1), 1e-9, 1e9))
    return np.stack([np.log1p(missing), best, share, np.log1p(own.sum(1)), np.log1p(used.sum(1))], 1)
