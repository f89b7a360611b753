"""How far apart the subspaces lie that the gradients of two groups of records span (arXiv 2105.13929).

The distance of two q-dimensional subspaces is the root mean square sine of their principal angles, the chordal distance
on the Grassmann manifold over its largest value (Ye and Lim, SIAM J. Matrix Anal. Appl. 37, 2016):
sqrt(1 - ||U_a^T U_b||_F^2 / q) in [0, 1]; 0 is the same subspace, 1 are orthogonal ones.

A group's subspace is that of the q largest left singular vectors of its tokens (not centred: that the mean gradients
differ counts). Tokens count with length one: a span does not depend on lengths, and few giants would be all there is to
see. q is how many directions hold 90 % of the groups' tokens on average; where that lies between two numbers the
squared distances of both are mixed, so that no resample falls from one to the other.

Subspaces of few records differ by chance, so distances are between halves: a half of one group and a half of the other,
against two halves of the same group (the null), all of the same number of records, over several random cuts. Groups
that do not differ then have a distance with the null's expectation, whatever their sizes. What is measured is the
distance of subspaces of that many records: read it beside its null.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from ptaudit.stats.bootstrap import from_values
from ptaudit.stats.estimate import Estimate, inconclusive, sqrt_estimate

Array = NDArray[np.float64]
Index = NDArray[np.int64]

LEAST_RECORDS = 40
"""Fewest records of a group."""

EXPLAINED = 0.9
"""Share of a group's tokens that its subspace holds."""

MOST = 16
"""Most directions of a subspace."""

AXES = 64
"""Principal axes of all groups together in which subspaces are looked for."""

CUTS = 8
"""Random cuts of every pair of groups, at most."""

MOST_PAIRS = 64
"""Most pairs of groups that are compared; of more, as many are drawn."""

_ROUNDING = 1e-10
_NONE = 1e-12


def subspace_distance(tokens: Array, group: Index, seed: int) -> list[Estimate]:
    """Distance of the groups' subspaces for every layer; of more than two groups the mean square over pairs, rooted.

    Pairs weigh as the product of their groups' numbers of records: as often as two random records make that pair.

    Args:
        tokens: tokens of N records for L layers, `(L, N, k)`.
        group: group of each record, `(N,)`, 0..K-1, each with at least `LEAST_RECORDS`.
        seed: of the cuts and resamples.

    Returns:
        One estimate a layer, with its null and the ceiling 1. The interval is over records, each by its first-order
        influence on the subspaces.
    """
    sizes = np.bincount(group)
    if len(sizes) < 2 or sizes.min() < LEAST_RECORDS:
        what = f"needs two groups of {LEAST_RECORDS} records each, has {', '.join(map(str, sizes))}"
        return [inconclusive(what, ceiling=1.0, n=len(group))] * len(tokens)
    return [_of_layer(np.asarray(layer, np.float64), group, seed) for layer in tokens]


def _of_layer(tokens: Array, group: Index, seed: int) -> Estimate:
    n = len(group)
    if not np.isfinite(tokens).all():
        return inconclusive("tokens that are not finite", ceiling=1.0, n=n)
    tokens = tokens / max(float(np.abs(tokens).max()), 1e-200)
    length = np.linalg.norm(tokens, axis=1, keepdims=True)
    if any(int((length[group == g] > 0).sum()) < LEAST_RECORDS for g in np.unique(group)):
        return inconclusive(f"a group with fewer than {LEAST_RECORDS} gradients other than zero", ceiling=1.0, n=n)
    unit = np.divide(tokens, length, out=np.zeros_like(tokens), where=length > 0)
    groups = [np.flatnonzero(group == g) for g in range(int(group.max()) + 1)]
    unit = unit @ _axes(unit, groups)
    if unit.shape[1] < 2:
        return inconclusive("the gradients of all groups lie in one direction", ceiling=1.0, n=n)
    parts = [(weight, _compared(unit, groups, q, seed)) for q, weight in _directions(unit, groups)]
    squares, nulls, influence = (np.sum([weight * found[i] for weight, found in parts], axis=0) for i in range(3))
    found = from_values(
        squares.mean() + influence,
        null=float(nulls.mean()),
        ceiling=1.0,
        seed=seed,
        extra_variance=float(squares.var(ddof=1)) / len(squares),
    )
    return sqrt_estimate(found).clipped(0.0, 1.0) if found.conclusive else found


def _axes(unit: Array, groups: Sequence[Index]) -> Array:
    """Principal axes of all groups, each counting alike, `(k, axes)`: eigenvectors of small matrices are cheap."""
    scatter = sum(unit[g].T @ unit[g] / len(g) for g in groups)
    values, axes = np.linalg.eigh(scatter)
    there = max(1, min(AXES, int((values > _ROUNDING * values[-1]).sum())))
    found: Array = axes[:, -there:]
    return found


def _directions(unit: Array, groups: Sequence[Index]) -> list[tuple[int, float]]:
    """How many directions hold enough of the groups: two numbers with their weights, where it lies between.

    At most half of all directions, for subspaces of more cannot be orthogonal.
    """
    held = [np.linalg.eigvalsh(unit[g].T @ unit[g])[::-1] for g in groups]
    share = np.mean([np.cumsum(values) / values.sum() for values in held], axis=0)
    few, most = int(np.sum(share < EXPLAINED)), min(MOST, len(share) // 2)
    if few == 0 or few >= most:
        return [(max(1, min(few, most)), 1.0)]
    part = float((EXPLAINED - share[few - 1]) / (share[few] - share[few - 1]))
    return [(few, 1.0 - part), (few + 1, part)]


def _compared(unit: Array, groups: Sequence[Index], q: int, seed: int) -> tuple[Array, Array, Array]:
    """Mean squared sines between and within groups for every cut, and the influence of every record, `(N,)`."""
    generator = np.random.default_rng(seed)
    pairs = list(combinations(range(len(groups)), 2))
    pairs = [pairs[i] for i in sorted(generator.permutation(len(pairs))[:MOST_PAIRS])]
    weight = np.array([len(groups[a]) * len(groups[b]) for a, b in pairs], np.float64)
    weight /= weight.sum()
    cuts = max(2, CUTS // len(pairs))
    squares, nulls, influence = np.zeros(cuts), np.zeros(cuts), np.zeros(len(unit))
    for cut in range(cuts):
        for (a, b), share in zip(pairs, weight, strict=True):
            halves = [*_halves(groups[a], groups[b], generator)]
            frames = [_frame(unit[half]) for half in halves]
            for i, j in ((0, 2), (0, 3), (1, 2), (1, 3)):
                squares[cut] += share / 4 * _sines(frames[i][1], frames[j][1], q)
                for of, other in ((i, j), (j, i)):
                    moved = _influence(unit[halves[of]], frames[of], frames[other][1][:, :q], q)
                    influence[halves[of]] += share / 4 / cuts * moved * len(unit)
            for i, j in ((0, 1), (2, 3)):
                nulls[cut] += share / 2 * _sines(frames[i][1], frames[j][1], q)
    return squares, nulls, influence


def _halves(a: Index, b: Index, generator: np.random.Generator) -> Iterator[Index]:
    """Two random halves of the smaller group, and as many records twice of the larger."""
    m = min(len(a), len(b)) // 2
    for group in (a, b):
        drawn = generator.permutation(group)
        yield drawn[:m]
        yield drawn[m : 2 * m]


def _frame(unit: Array) -> tuple[Array, Array]:
    """Eigenvalues of the scatter, descending, and eigenvectors as columns."""
    values, axes = np.linalg.eigh(unit.T @ unit / len(unit))
    return np.maximum(values[::-1], 0.0), axes[:, ::-1]


def _sines(one: Array, two: Array, q: int) -> float:
    """Mean squared sine of the principal angles."""
    return 1.0 - float(np.square(one[:, :q].T @ two[:, :q]).sum()) / q


def _influence(unit: Array, frame: tuple[Array, Array], other: Array, q: int) -> Array:
    """What each of the records does to the mean squared sine, to first order, through its own group's subspace: `(m,)`.

    Record t turns eigenvector u_a towards u_b by (u_a . t)(u_b . t) / (m (l_a - l_b)). Where two eigenvalues are closer
    than what chance makes of them the directions are exchanged at will and the first order says too much: the gap is
    then taken as chance's.
    """
    values, axes = frame
    inner, outer = values[:q, None], values[None, q:]
    gap = np.maximum(inner - outer, np.sqrt(inner * outer / len(unit)))
    turn = (axes[:, :q].T @ other) @ (other.T @ axes[:, q:])
    turn = np.divide(turn, gap, out=np.zeros_like(turn), where=gap > _NONE)
    seen = unit @ axes
    moved: Array = -2.0 / (q * len(unit)) * ((seen[:, :q] @ turn) * seen[:, q:]).sum(1)
    return moved
