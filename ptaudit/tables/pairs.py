"""Rows of two runs side by side: whether they may be compared, and by how much they differ."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from ptaudit.spec.catalog import ESTIMATORS, FAMILIES
from ptaudit.stats.simultaneous import Z, sidak_bounds, simultaneous_bounds, spread
from ptaudit.stats.welch import two_sided_p, welch
from ptaudit.tables.bounds import joint_draws
from ptaudit.tables.row import Key, Row
from ptaudit.tables.run import Run
from ptaudit.tables.seeds import record_variance, same_ceiling

Array = NDArray[np.float64]
Pair = tuple[Row, Row]
"""A row of the earlier run (or baseline) and one of the later run."""

_ROUNDING = 1e-5
"""Relative difference that the six digits of the tables cannot show."""


@dataclass(frozen=True)
class Differences:
    """Later minus earlier run, one entry a pair, with pointwise 95 % intervals and, if known, draws (pairs, B)."""

    value: Array
    lo: Array
    hi: Array
    p: Array
    dof: Array
    draws: Array | None = None

    def bounds(self, ceilings: Array, level: float = 0.95) -> tuple[Array, Array]:
        """Bounds that hold for all pairs at once, inside ± the ceiling where there is one."""
        if self.draws is None:
            lower, upper = sidak_bounds(self.value, self.lo, self.hi, level, self.dof)
        else:
            lower, upper = simultaneous_bounds(self.value, self.draws, level, self.dof)
        top = np.where(np.isfinite(ceilings), ceilings, np.inf)
        return np.clip(np.minimum(lower, self.lo), -top, top), np.clip(np.maximum(upper, self.hi), -top, top)


def same_records(before: Run, after: Run) -> bool | None:
    """Whether both runs split the data alike; None if a manifest does not say."""
    digests = [run.manifest.get("split_sha256") for run in (before, after)]
    return digests[0] == digests[1] if all(digests) else None


def mismatch(pair: Pair, before: Run, after: Run) -> str | None:
    """Why two rows are not numbers of one game, or None: other ceiling, other tokens."""
    first, second = pair
    learned = before.encoder, after.encoder
    if learned[0] != learned[1] and first.adversary in (*ESTIMATORS, *FAMILIES):
        return f"tokens by {learned[0]} and {learned[1]}"
    if not same_ceiling(first.ceiling, second.ceiling):
        return f"ceilings {first.ceiling:.3g} and {second.ceiling:.3g}: not the same candidates or defense"
    dims = before.token_dim, after.token_dim
    if None not in dims and dims[0] != dims[1]:
        return f"token dimensions {dims[0]} and {dims[1]}"
    if None in dims and (first.status == "dim-limited") != (second.status == "dim-limited"):
        return "one is dim-limited, the other not, and a spec is missing: token dimensions may differ"
    return None


def sample_differences(pairs: Sequence[Pair], paired: bool) -> Differences:
    """Differences with the noise that the rows' own draws (or intervals) tell of.

    Args:
        pairs: measured rows.
        paired: whether both sides resample the same records, so that replicates belong together. Otherwise, and for
            rows of different n, the replicates of one side are shuffled: variances then add up.

    Returns:
        Differences of unclipped values; without draws their intervals are those of independent numbers (MOVER, Zou and
        Donner 2008).
    """
    lo, hi = _independent(pairs)
    before, after = joint_draws([b for b, _ in pairs]), joint_draws([a for _, a in pairs])
    infinite = np.full(len(pairs), np.inf)
    if before is None or after is None or before.shape != after.shape:
        value = _rounded([(b.value, a.value) for b, a in pairs])
        half = np.where(value > 0, value - lo, hi - value)
        return Differences(value, lo, hi, two_sided_p(value, half / Z), infinite)
    value = _rounded([(b.centre, a.centre) for b, a in pairs])
    shuffle = np.random.default_rng(0).permutation(before.shape[1])
    alone = np.array([not paired or b.n != a.n for b, a in pairs])
    draws = after - np.where(alone[:, None], before[:, shuffle], before)
    error = spread(draws)
    fixed = (spread(before) == 0) & (spread(after) == 0)
    lower, upper = np.where(fixed, lo, value - Z * error), np.where(fixed, hi, value + Z * error)
    known = np.where(fixed, np.where(value > 0, value - lo, hi - value) / Z, error)
    return Differences(value, lower, upper, two_sided_p(value, known), infinite, draws)


def seed_differences(pairs: Sequence[Pair], before: Run, after: Run, with_records: bool) -> Differences:
    """Differences between two groups of seeds, by Welch's t.

    Args:
        pairs: measured rows of the pooled tables.
        before: run with the tables of at least two seeds.
        after: likewise.
        with_records: whether the runs audit different records, whose variance then adds to that between seeds.
    """
    ours, theirs = ([_by_key(table) for table in run.seeds] for run in (before, after))
    groups = [([t[b.key] for t in ours if b.key in t], [t[a.key] for t in theirs if a.key in t]) for b, a in pairs]
    first, second = (np.array([[row.value for row in group[side]] for group in groups]).T for side in (0, 1))
    extra: list[tuple[Array, Array]] = []
    if with_records:
        for side in (0, 1):
            variance = np.array([record_variance(group[side]) for group in groups])
            extra.append((variance, np.array([max(group[side][0].n - 1, 1) for group in groups], dtype=np.float64)))
    value, error, dof, p = welch(first, second, extra)
    half = stats.t.ppf(0.975, dof) * error
    return Differences(value, value - half, value + half, p, dof)


def _by_key(table: Sequence[Row]) -> dict[Key, Row]:
    return {row.key: row for row in table}


def _independent(pairs: Sequence[Pair]) -> tuple[Array, Array]:
    ends = [
        (
            (a.value - b.value) - math.hypot(a.value - a.lo, b.hi - b.value),
            (a.value - b.value) + math.hypot(a.hi - a.value, b.value - b.lo),
        )
        for b, a in pairs
    ]
    lo, hi = np.array(ends).reshape(-1, 2).T
    return lo, hi


def _rounded(values: Sequence[tuple[float, float]]) -> Array:
    return np.array([0.0 if math.isclose(b, a, rel_tol=_ROUNDING) else a - b for b, a in values])
