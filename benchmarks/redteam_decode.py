"""Whole records from a gradient: all inputs of a small batch at once, where inputs are one-hot categories.

While the gradient of the first linear layer has as many singular values as the batch has records, its row space is
spanned by their inputs. A vector of that space is fixed by as many of its numbers as it has dimensions. So all choices
of 0 and 1 for so many one-hot inputs are tried; those whose other inputs come out as 0 or 1 as well, with one category
a field, are records of the batch.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from redteam_world import Array, Index, World
from scipy.linalg import qr

MOST = 12
"""Largest dimension of the row space that is searched: 2^11 vectors."""

TOLERANCE = 0.02


FEW = 200
"""Inputs with at most so many different values are held against these."""


@dataclass(frozen=True)
class Inputs:
    """What values inputs have, as the attacker's own records show.

    Attributes:
        binary: inputs that are 0 or 1.
        fields: those of each field with one category a record.
        values: of the other inputs with few values, sorted.
    """

    binary: Index
    fields: list[Index]
    values: dict[int, Array]


def inputs_of(world: World) -> Inputs | None:
    """From records that are not audited; None where inputs are no rows of numbers, mostly binary."""
    if not isinstance(world.inputs, torch.Tensor) or world.inputs.dim() != 2 or world.inputs.is_complex():
        return None
    x = world.inputs[torch.from_numpy(world.spare)].double().numpy()
    values = {column: np.unique(x[:, column]) for column in range(x.shape[1])}
    binary = np.array([column for column, some in values.items() if np.isin(some, (0.0, 1.0)).all()], dtype=np.int64)
    others = {column: some for column, some in values.items() if column not in set(binary) and len(some) <= FEW}
    fields = [np.arange(start, start + levels.shape[1]) for _, start, levels in world.fields.values()]
    fields = [some for some in fields if len(some) > 1 and np.isin(some, binary).all()]
    return Inputs(binary, fields, others) if 2 * len(binary) > x.shape[1] else None


def decode(G: Array, inputs: Inputs) -> Array:
    """Records that are for certain in the batch, each with a last input of 1 for the bias: `(records, in + 1)`.

    Args:
        G: gradient of the first linear layer, `(out, in + 1)`.
        inputs: what values they have.
    """
    rows = np.linalg.norm(G, axis=1)
    M = G[rows > 0.0] / rows[rows > 0.0][:, None]
    none = np.zeros((0, G.shape[1]))
    if not len(M):
        return none
    _, s, Vt = np.linalg.svd(M, full_matrices=False)
    rank = int((s > 3e-6 * s[0]).sum())
    if rank > MOST:
        return none
    basis, binary = Vt[:rank].T, np.append(inputs.binary, G.shape[1] - 1)
    chosen = binary[_pivots(basis[binary], len(binary) - 1)[:rank]]
    inverse = np.linalg.pinv(basis[chosen], rcond=1e-6)
    bits = (np.arange(1 << (rank - 1))[:, None] >> np.arange(rank - 1)) & 1
    tried = np.concatenate([np.ones((len(bits), 1)), bits], 1) @ inverse.T @ basis.T
    return tried[_legal(tried, inputs)]


def _pivots(rows: Array, first: int) -> Array:
    """Rows that span, beginning with one."""
    start = rows[first] / np.linalg.norm(rows[first])
    left = rows - (rows @ start)[:, None] * start
    order = qr(left.T, mode="r", pivoting=True)[1]
    return np.append(first, order[order != first])


def _legal(tried: Array, inputs: Inputs) -> Array:
    """Which vectors have 0 and 1 where they should, and at most one category a field."""
    part = tried[:, inputs.binary]
    fine = (np.minimum(np.abs(part), np.abs(part - 1.0)) < TOLERANCE).all(1)
    fine &= np.abs(tried[:, -1] - 1.0) < TOLERANCE
    for some in inputs.fields:
        fine &= np.round(tried[:, some].sum(1)) <= 1
    return fine


def _seen_before(found: Array, inputs: Inputs) -> Array:
    """Which vectors also have numbers that there are: others may be sums of records, or of too few dimensions."""
    fine = np.ones(len(found), dtype=bool)
    for column, values in inputs.values.items():
        place = np.searchsorted(values, found[:, column]).clip(1, max(1, len(values) - 1))
        near = np.minimum(
            np.abs(values[place % len(values)] - found[:, column]), np.abs(values[place - 1] - found[:, column])
        )
        fine &= near < TOLERANCE
    return fine


def counts(G: Array, inputs: Inputs) -> Array:
    """How many records were found, and how many of them have each binary input; and of those with known numbers."""
    found = decode(G, inputs)
    parts = [np.round(one[:, inputs.binary]) for one in (found, found[_seen_before(found, inputs)])]
    return np.concatenate(
        [np.append(one.sum(0) / max(1, share * len(one)), len(one)) for one in parts for share in (0, 1)]
    )
