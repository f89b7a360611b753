"""Several seeds of one spec to one table, with the noise of retraining in its intervals."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from ptaudit.stats.simultaneous import Z
from ptaudit.stats.welch import satterthwaite
from ptaudit.tables.columns import Mask, Places, keys, places_of
from ptaudit.tables.row import KEY_COLUMNS, Key, Row, limit
from ptaudit.tables.status import worst_status
from ptaudit.tables.table import Table

Array = NDArray[np.float64]

CEILING_TOLERANCE = 0.01
"""Relative difference of two ceilings up to which rows count as the same game."""


@dataclass(frozen=True)
class _Variances:
    """Variances of the mean over seeds, (rows,): of record sampling (below and above the value) and of retraining.

    `dof` are Satterthwaite's degrees of freedom of their sum, `seeds` the number of runs.
    """

    below: Array
    above: Array
    between: Array
    dof: Array
    seeds: int

    def half(self, records: Array) -> float:
        """Half-width of the interval of one row for a variance `records` of record sampling."""
        return Z * math.hypot(math.sqrt(records), self.stretch * math.sqrt(self.between))

    @property
    def stretch(self) -> float:
        """Student's t over the normal quantile: how much wider few seeds make the part between them."""
        return float(stats.t.ppf(0.975, self.seeds - 1)) / Z


def pool(tables: Sequence[Sequence[Row]]) -> tuple[Row, ...]:
    """Pools the tables of several seeds of one spec, row by row.

    The value is the mean over seeds. Its half-width is the root of two squares: that of record sampling (not reduced by
    more seeds, which share the records) and Student's t, at seeds − 1 degrees of freedom, times the error between
    seeds. That covers at least 95 % whichever dominates (Satterthwaite's t: 88 % with two seeds). Draws are widened
    alike: what retraining adds moves all rows of a replicate together, as it did from seed to seed.

    Args:
        tables: one table a seed.

    Returns:
        The pooled table in the order of the first one. One table is returned as it is. A row that is not measured with
        every seed is not measured: its status says why.
    """
    if len(tables) == 1:
        return tuple(tables[0])
    groups = _groups(tables)
    shocks = _shocks(tables)
    return tuple(_pool_row(group, len(tables), shocks) for group in groups.values())


def degrees_of_freedom(rows: Table, seeds: Sequence[Table]) -> Array:
    """Degrees of freedom behind the intervals of pooled rows, (rows,); infinite where there is one seed."""
    dof = np.full(len(rows), np.inf)
    if len(seeds) > 1:
        places = in_seeds(rows, seeds)
        whole = np.flatnonzero((places >= 0).all(0))
        tables = [table.take(place[whole]) for table, place in zip(seeds, places)]
        measured = np.logical_and.reduce([table.measured for table in tables])
        dof[whole[measured]] = _variances_of([table.take(measured) for table in tables]).dof
    return dof


def in_seeds(rows: Table, seeds: Sequence[Table]) -> Places:
    """Where each row stands in the table of each seed, (seeds, rows); -1 where it does not."""
    wanted, *there = keys(KEY_COLUMNS, rows, *seeds)
    return np.array([places_of(wanted, key) for key in there])


def record_variance(tables: Sequence[Table]) -> Array:
    """Variances of means over seeds (rows,) that are due to the records, from the intervals of the single seeds.

    Args:
        tables: the rows as each seed has them, in the same order.
    """
    variances = _variances_of(tables)
    return np.maximum(variances.below, variances.above)


def _variances_of(tables: Sequence[Table]) -> _Variances:
    value, lo, hi, n = (np.array([table.number(name) for table in tables]) for name in ("value", "lo", "hi", "n"))
    return _variances(value, lo, hi, np.array([table.centre() for table in tables]), n)


def _groups(tables: Sequence[Sequence[Row]]) -> dict[Key, list[Row]]:
    groups: dict[Key, list[Row]] = {}
    for table in tables:
        for row in table:
            groups.setdefault(row.key, []).append(row)
    return groups


def _variances(value: Array, lo: Array, hi: Array, centre: Array, n: NDArray[Any]) -> _Variances:
    """Of the numbers of each seed, (seeds, rows)."""
    seeds = len(value)
    below, above = ((value - lo).mean(0) / Z) ** 2, ((hi - value).mean(0) / Z) ** 2
    between = centre.var(0, ddof=1) / seeds
    _, dof = satterthwaite([(below + above) / 2, between], [np.maximum(n.min(0) - 1, 1), seeds - 1])
    return _Variances(below, above, between, dof, seeds)


def _pool_row(group: list[Row], seeds: int, shocks: Array) -> Row:
    first, nan = group[0], math.nan
    nothing = replace(first, value=nan, lo=nan, hi=nan, null=nan, detectable=nan, draws=None)
    nothing = replace(nothing, n=min(row.n for row in group))
    if len(group) < seeds:
        return replace(nothing, status=f"inconclusive: measured with {len(group)} of {seeds} seeds")
    status = worst_status(row.status for row in group)
    if not all(row.measured for row in group):
        unmeasured = worst_status(row.status for row in group if not row.measured)
        return replace(nothing, status=unmeasured if unmeasured != "ok" else "inconclusive: not a number")
    if not all(same_ceiling(first.ceiling, row.ceiling) for row in group):
        return replace(nothing, status="inconclusive: ceilings differ between seeds")
    values, lows, highs, centres, n = np.array([(r.value, r.lo, r.hi, r.centre, r.n) for r in group]).T
    variances = _variances(values, lows, highs, centres, n)
    value = float(min(max(centres.mean(), values.min()), values.max()))
    floor = 0.0 if all(row.lo >= 0 for row in group) else -math.inf
    top = first.ceiling if math.isfinite(first.ceiling) else math.inf
    pooled = replace(
        first,
        value=value,
        lo=max(value - variances.half(variances.below), floor),
        hi=min(value + variances.half(variances.above), top),
        null=float(np.mean([row.null for row in group])),
        n=min(row.n for row in group),
        status=status,
        draws=_pool_draws(group, variances, shocks),
    )
    return replace(pooled, detectable=limit(pooled.metric, pooled.estimate))


def same_ceiling(one: ArrayLike, other: ArrayLike) -> Mask:
    """Whether ceilings are those of one game: equal to within a hundredth, or both absent."""
    absent: Mask = np.asarray(np.isnan(one) & np.isnan(other))
    return absent | close(one, other, CEILING_TOLERANCE)


def close(one: ArrayLike, other: ArrayLike, tolerance: float) -> Mask:
    """Whether numbers are equal to within a share of the larger; NaN never is, infinity only to itself."""
    first, second = np.asarray(one, dtype=np.float64), np.asarray(other, dtype=np.float64)
    finite = np.isfinite(first) & np.isfinite(second)
    gap = np.abs(np.subtract(first, second, where=finite, out=np.full(finite.shape, np.inf)))
    near = finite & (gap <= tolerance * np.maximum(np.abs(first), np.abs(second)))
    return np.asarray((first == second) | near)


def _pool_draws(group: list[Row], variances: _Variances, shocks: Array) -> Array | None:
    """Mean of the draws plus the shocks of retraining, scaled so that their spread · 1.96 is the half-width."""
    drawn = [row.draws for row in group if row.draws is not None]
    if len(drawn) < len(group) or any(len(each) != shocks.shape[1] for each in drawn):
        return None
    mean = np.asarray(np.mean(drawn, axis=0), dtype=np.float64)
    if variances.between == 0:
        return mean
    centres = np.array([row.centre for row in group])
    retraining = (centres - centres.mean()) @ shocks[: len(group)] / math.sqrt(len(group) * (len(group) - 1))
    return np.asarray(mean + retraining * variances.stretch, dtype=np.float64)


def _shocks(tables: Sequence[Sequence[Row]]) -> Array:
    """Standard Gaussian numbers (seeds, B), fixed by the values of the tables: independent between runs."""
    draws = next((len(row.draws) for table in tables for row in table if row.draws is not None), 0)
    values = np.array([row.value for table in tables for row in table], dtype=np.float64)
    digest = hashlib.sha256((np.round(values, 6) + 0.0).tobytes()).digest()
    return np.random.default_rng(list(digest)).standard_normal((len(tables), draws))
