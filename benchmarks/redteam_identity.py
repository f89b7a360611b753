"""Which of K records was in the batch? Games are drawn, played on true gradients, and answered from the evidence."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from redteam_defended import evidence
from redteam_density import Density, fit_density, flat
from redteam_gradients import Eye
from redteam_posterior import Evidence
from redteam_span import Sides, row_evidence, span_evidence
from redteam_world import Array, Index
from torch import Tensor, nn

OWN = 700
"""Most records of the attacker whose whole gradients she keeps."""

WHOLE = 400_000
"""Largest network of which whole gradients are compared."""


@dataclass(frozen=True)
class Known:
    """What the attacker computes of the candidates of some games.

    Attributes:
        sides: of layers with one product a record.
        rows: rows in use and their gradients, of embeddings.
        whole: all layers one after another, `(K, d)`; None where that is too large.
    """

    sides: dict[str, Sides]
    rows: dict[str, tuple[Array, Array]]
    whole: Tensor | None

    def of(self, some: Index) -> Known:
        """Of some of the candidates."""
        sides = {name: Sides(one.a[some], one.d[some]) for name, one in self.sides.items()}
        rows = {name: (used[some], values[some]) for name, (used, values) in self.rows.items()}
        return Known(sides, rows, None if self.whole is None else self.whole[some])


def learn(eye: Eye, index: Index, version: tuple[str, int] | None = None, *, whole: bool = True) -> Known:
    """What can be computed of single records, or of a version of them with another field value."""
    sides = {name: Sides(*both) for name, both in eye.sides(index, version).items()}
    tables = [i for i, block in enumerate(eye.blocks) if isinstance(block.module, nn.Embedding)]
    whole = whole and sum(p.numel() for p in eye.parameters) <= WHOLE
    if not (whole or tables):
        return Known(sides, {}, None)
    grads = eye.alone(index, version)
    rows = {eye.blocks[i].name: _used(grads[i].double().numpy()) for i in tables}
    return Known(sides, rows, flat(grads) if whole else None)


def _used(grads: Array) -> tuple[Array, Array]:
    """Rows that are not 0, padded with -1, and the gradient there."""
    there = [np.flatnonzero(np.abs(one).sum(1)) for one in grads]
    length = max(1, *(len(one) for one in there))
    rows = np.full((len(grads), length), -1)
    for i, one in enumerate(there):
        rows[i, : len(one)] = one
    return rows, np.take_along_axis(grads, np.maximum(rows, 0)[:, :, None], 1) * (rows >= 0)[:, :, None]


def density_of(eye: Eye, own: Index, rng: np.random.Generator) -> Density | None:
    """Scatter of the whole gradients of the attacker's own records."""
    if sum(p.numel() for p in eye.parameters) > WHOLE:
        return None
    return fit_density(flat(eye.alone(rng.permutation(own)[:OWN])))


def statistics(eye: Eye, batch: list[Tensor], known: Known) -> Array:
    """What the algebra says of every candidate, `(K, F)`."""
    if eye.processed:
        assert known.whole is not None
        return evidence(batch, known.whole)
    found = []
    for block, matrix in zip(eye.blocks, batch):
        G = matrix.double().numpy()
        if block.name in known.sides:
            edge = eye.noise * (np.sqrt(G.shape[0]) + np.sqrt(G.shape[1]))
            found.append(span_evidence(G, known.sides[block.name], edge))
        elif block.name in known.rows:
            found.append(row_evidence(G, *known.rows[block.name]))
    if eye.update and known.whole is not None:
        found.append(evidence(batch, known.whole))
    return np.concatenate(found, 1)


@dataclass(frozen=True)
class Table:
    """Who may be asked about, and who hides them.

    Attributes:
        targets: candidates.
        others: records that the m - 1 others are drawn from.
        size: K.
    """

    targets: Index
    others: Index
    size: int


def play(eye: Eye, table: Table, m: int, density: Density | None, how: tuple[int, np.random.Generator]) -> Evidence:
    """Games and what can be said of their candidates.

    Args:
        eye: reads gradients.
        table: candidates and others.
        m: batch size.
        density: of the rest of a batch, or None.
        how: number of games, and what draws them.
    """
    games, rng = how
    order = rng.permutation(table.targets)
    sets = order[: len(order) // table.size * table.size].reshape(-1, table.size)[: max(1, games // 64)]
    parts = [_play_set(eye, some, (table.others, m), density, (games // len(sets), rng)) for some in sets]
    joined = [np.concatenate([getattr(part, name) for part in parts]) for name in Evidence.__dataclass_fields__]
    return Evidence(*joined)


def _play_set(
    eye: Eye,
    candidates: Index,
    hidden: tuple[Index, int],
    density: Density | None,
    how: tuple[int, np.random.Generator],
) -> Evidence:
    (others, m), (games, rng), k = hidden, how, len(candidates)
    known = learn(eye, candidates, whole=density is not None or eye.processed)
    secret = np.concatenate([rng.permutation(k) for _ in range(-(-games // k))])[:games]
    learned, seen = [], []
    for one in secret:
        index = np.append(rng.choice(others, m - 1, replace=False), candidates[one])
        batch = eye.batch(index, rng)
        learned.append(statistics(eye, batch, known))
        if density is not None:
            seen.append(flat(batch))
    direct = _direct(seen, known, density, m, eye.noise) if density is not None else np.zeros((games, k, 0))
    return Evidence(np.stack(learned), direct, np.full((games, k), 1.0 / k), secret, candidates[secret])


def _direct(seen: list[Tensor], known: Known, density: Density, m: int, noise: float) -> Array:
    assert known.whole is not None
    parts = [seen[start : start + 64] for start in range(0, len(seen), 64)]
    others = max(m - 1, 1e-3)
    return np.concatenate([density.evidence(torch.stack(part), known.whole, others, noise) for part in parts])
