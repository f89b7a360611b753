"""Rows of two runs side by side: whether they may be compared, and by how much they differ."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from ptaudit.attacks.registry import OF_TOKENS
from ptaudit.errors import RunFolderError
from ptaudit.estimators.registry import ESTIMATORS
from ptaudit.stats.simultaneous import Z, sidak_bounds, simultaneous_bounds, spread
from ptaudit.stats.welch import two_sided_p, welch
from ptaudit.tables.columns import Remarks, Words
from ptaudit.tables.run import Run
from ptaudit.tables.seeds import close, in_seeds, record_variance, same_ceiling
from ptaudit.tables.table import AT_ONCE, Table

Array = NDArray[np.float64]
PairedTables = tuple[Table, Table]
"""Rows of the earlier run (or baseline), and those of the later run that belong to them, in the same order."""

NUMBERS = ("value", "lo", "hi", "ceiling", "n")
"""What a difference is made of, beside draws."""
_ROUNDING = 1e-5
"""Relative difference that the six digits of the tables cannot show."""


@dataclass(frozen=True)
class Differences:
    """Later minus earlier run, one entry a pair, with pointwise 95 % intervals and, if known, draws (pairs, B), which
    are made when they are asked for."""

    value: Array
    lo: Array
    hi: Array
    p: Array
    dof: Array
    draws: Callable[[], Array] | None = None

    def bounds(self, ceilings: Array, level: float = 0.95) -> tuple[Array, Array]:
        """Bounds that hold for all pairs at once, inside ± the ceiling where there is one."""
        if self.draws is None:
            lower, upper = sidak_bounds(self.value, self.lo, self.hi, level, self.dof)
        else:
            lower, upper = simultaneous_bounds(self.value, self.draws(), level, self.dof)
        top = np.where(np.isfinite(ceilings), ceilings, np.inf)
        return np.clip(np.minimum(lower, self.lo), -top, top), np.clip(np.maximum(upper, self.hi), -top, top)


def same_records(before: Run, after: Run) -> bool | None:
    """Whether both runs split the data alike; None if a manifest does not say."""
    digests = [run.manifest.get("split_sha256") for run in (before, after)]
    return digests[0] == digests[1] if all(digests) else None


def mismatch(pairs: PairedTables, before: Run, after: Run) -> Words:
    """Why two rows are not numbers of one game, one text a pair, empty where they are: other ceiling, other tokens."""
    first, second = pairs
    reasons = Remarks(len(first))
    learned = before.encoder, after.encoder
    if learned[0] != learned[1]:
        readers = np.flatnonzero(first.are(adversary=(*ESTIMATORS, *OF_TOKENS)))
        reasons.add(readers, f"tokens by {learned[0]} and {learned[1]}")
    ceilings = first.number("ceiling"), second.number("ceiling")
    unlike = np.flatnonzero(~same_ceiling(*ceilings))
    ends = zip(*(ceiling[unlike].tolist() for ceiling in ceilings))
    texts = (f"ceilings {one:.3g} and {other:.3g}: not the same candidates or defense" for one, other in ends)
    reasons.add(unlike, Words.of(texts))
    dims = before.token_dim, after.token_dim
    if None not in dims and dims[0] != dims[1]:
        reasons.add(np.arange(len(first)), f"token dimensions {dims[0]} and {dims[1]}")
    if None in dims:
        text = "one is dim-limited, the other not, and a spec is missing: token dimensions may differ"
        limited = first.are(status="dim-limited") != second.are(status="dim-limited")
        reasons.add(np.flatnonzero(limited), text)
    return reasons.words


def sample_differences(pairs: PairedTables, paired: bool) -> Differences:
    """Differences with the noise that the rows' own draws (or intervals) tell of.

    Args:
        pairs: measured rows.
        paired: whether both sides resample the same records, so that replicates belong together. Otherwise, and for
            rows of different n, the replicates of one side are shuffled: variances then add up.

    Returns:
        Differences of unclipped values; without draws their intervals are those of independent numbers (MOVER, Zou and
        Donner 2008).
    """
    first, second = pairs
    lo, hi = _independent(pairs)
    infinite = np.full(len(first), np.inf)
    if not first.draws_each or first.draws_each != second.draws_each:
        value = _rounded(first.number("value"), second.number("value"))
        half = np.where(value > 0, value - lo, hi - value)
        return Differences(value, lo, hi, two_sided_p(value, half / Z), infinite)
    value = _rounded(first.centre(), second.centre())
    spreads = [
        [spread(_draws(first[some])), spread(_draws(second[some])), spread(_moved(first[some], second[some], paired))]
        for some in (slice(start, start + AT_ONCE) for start in range(0, len(first), AT_ONCE))
    ]
    before, after, error = np.concatenate(spreads, axis=1)
    fixed = (before == 0) & (after == 0)
    lower, upper = np.where(fixed, lo, value - Z * error), np.where(fixed, hi, value + Z * error)
    known = np.where(fixed, np.where(value > 0, value - lo, hi - value) / Z, error)
    p = two_sided_p(value, known)
    return Differences(value, lower, upper, p, infinite, lambda: _moved(first, second, paired))


def seed_differences(pairs: PairedTables, before: Run, after: Run, with_records: bool) -> Differences:
    """Differences between two groups of seeds, by Welch's t.

    Args:
        pairs: measured rows of the pooled tables.
        before: run with the tables of at least two seeds.
        after: likewise.
        with_records: whether the runs audit different records, whose variance then adds to that between seeds.

    Raises:
        RunFolderError: a seed lacks a row of the pooled table.
    """
    groups = [_of_seeds(rows, run) for rows, run in zip(pairs, (before, after))]
    first, second = (np.array([table.number("value") for table in group]) for group in groups)
    extra: list[tuple[Array, Array]] = []
    if with_records:
        extra = [(record_variance(group), np.maximum(group[0].number("n") - 1.0, 1.0)) for group in groups]
    value, error, dof, p = welch(first, second, extra)
    half = stats.t.ppf(0.975, dof) * error
    return Differences(value, value - half, value + half, p, dof)


def _of_seeds(rows: Table, run: Run) -> list[Table]:
    """The rows as the table of each seed has them."""
    places = in_seeds(rows, run.seeds)
    gone = np.flatnonzero((places < 0).any(0))
    if len(gone):
        layer, view, epoch = rows.take(gone[:1]).distinct("layer", "view", "epoch")[0]
        where = f"run {run.name}, layer {layer}, view {view}, epoch {epoch}"
        raise RunFolderError("the table of a seed has no such row", where=where, remedy="fetch the run again, whole")
    return [table.take(place) for table, place in zip(run.seeds, places)]


def _draws(rows: Table) -> Array:
    draws = rows.joint_draws()
    assert draws is not None
    return draws


def _moved(first: Table, second: Table, paired: bool) -> Array:
    """Draws of the differences (pairs, B)."""
    before, after = _draws(first), _draws(second)
    shuffle = np.random.default_rng(0).permutation(before.shape[1])
    alone = (first.number("n") != second.number("n")) | (not paired)
    return np.asarray(after - np.where(alone[:, None], before[:, shuffle], before))


def _independent(pairs: PairedTables) -> tuple[Array, Array]:
    (b, b_lo, b_hi), (a, a_lo, a_hi) = ([table.number(name) for name in ("value", "lo", "hi")] for table in pairs)
    return (a - b) - _hypot(a - a_lo, b_hi - b), (a - b) + _hypot(a_hi - a, b - b_lo)


def _hypot(one: Array, other: Array) -> Array:
    """That of Python, whose last digit is right."""
    found = np.empty(len(one))
    for start in range(0, len(one), AT_ONCE):
        some = slice(start, start + AT_ONCE)
        found[some] = list(map(math.hypot, one[some].tolist(), other[some].tolist()))
    return found


def _rounded(before: Array, after: Array) -> Array:
    return np.where(close(before, after, _ROUNDING), 0.0, after - before)
