"""Several seeds of one spec to one table, with the noise of retraining in its intervals."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from ptaudit.stats.simultaneous import Z
from ptaudit.stats.welch import satterthwaite
from ptaudit.tables.row import Key, Row, limit
from ptaudit.tables.status import worst_status

Array = NDArray[np.float64]

CEILING_TOLERANCE = 0.01
"""Relative difference of two ceilings up to which rows count as the same game."""


@dataclass(frozen=True)
class _Parts:
    """Variances of the mean over seeds: of record sampling (below and above the value) and of retraining.

    `dof` are Satterthwaite's degrees of freedom of their sum, `seeds` the number of runs.
    """

    below: float
    above: float
    between: float
    dof: float
    seeds: int

    def half(self, records: float) -> float:
        """Half-width of the interval for a variance `records` of record sampling."""
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


def degrees_of_freedom(rows: Sequence[Row], seeds: Sequence[Sequence[Row]]) -> Array:
    """Degrees of freedom behind the intervals of pooled rows, (rows,); infinite where there is one seed."""
    if len(seeds) < 2:
        return np.full(len(rows), np.inf)
    groups = _groups(seeds)
    dofs = []
    for row in rows:
        group = groups.get(row.key, [])
        dofs.append(_parts(group).dof if len(group) > 1 and all(r.measured for r in group) else math.inf)
    return np.array(dofs)


def record_variance(group: Sequence[Row]) -> float:
    """Variance of a mean over seeds that is due to the records, from the intervals of the single seeds."""
    parts = _parts(group)
    return max(parts.below, parts.above)


def _groups(tables: Sequence[Sequence[Row]]) -> dict[Key, list[Row]]:
    groups: dict[Key, list[Row]] = {}
    for table in tables:
        for row in table:
            groups.setdefault(row.key, []).append(row)
    return groups


def _parts(group: Sequence[Row]) -> _Parts:
    below = float(np.mean([row.value - row.lo for row in group]) / Z) ** 2
    above = float(np.mean([row.hi - row.value for row in group]) / Z) ** 2
    if len(group) < 2:
        return _Parts(below, above, 0.0, math.inf, len(group))
    between = float(np.var([row.centre for row in group], ddof=1) / len(group))
    records = max(min(row.n for row in group) - 1, 1)
    _, dof = satterthwaite([(below + above) / 2, between], [records, len(group) - 1])
    return _Parts(below, above, between, float(dof), len(group))


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
    centre, parts = float(np.mean([row.centre for row in group])), _parts(group)
    values = [row.value for row in group]
    value = min(max(centre, min(values)), max(values))
    floor = 0.0 if all(row.lo >= 0 for row in group) else -math.inf
    top = first.ceiling if math.isfinite(first.ceiling) else math.inf
    pooled = replace(
        first,
        value=value,
        lo=max(value - parts.half(parts.below), floor),
        hi=min(value + parts.half(parts.above), top),
        null=float(np.mean([row.null for row in group])),
        n=min(row.n for row in group),
        status=status,
        draws=_pool_draws(group, parts, shocks),
    )
    return replace(pooled, detectable=limit(pooled.metric, pooled.estimate))


def same_ceiling(one: float, other: float) -> bool:
    """Whether two ceilings are those of one game: equal to within a hundredth, or both absent."""
    return math.isclose(one, other, rel_tol=CEILING_TOLERANCE) or (math.isnan(one) and math.isnan(other))


def _pool_draws(group: list[Row], parts: _Parts, shocks: Array) -> Array | None:
    """Mean of the draws plus the shocks of retraining, scaled so that their spread · 1.96 is the half-width."""
    drawn = [row.draws for row in group if row.draws is not None]
    if len(drawn) < len(group) or any(len(each) != shocks.shape[1] for each in drawn):
        return None
    mean = np.asarray(np.mean(drawn, axis=0), dtype=np.float64)
    if parts.between == 0:
        return mean
    centres = np.array([row.centre for row in group])
    retraining = (centres - centres.mean()) @ shocks[: len(group)] / math.sqrt(len(group) * (len(group) - 1))
    return np.asarray(mean + retraining * parts.stretch, dtype=np.float64)


def _shocks(tables: Sequence[Sequence[Row]]) -> Array:
    """Standard Gaussian numbers (seeds, B), fixed by the values of the tables: independent between runs."""
    draws = next((len(row.draws) for table in tables for row in table if row.draws is not None), 0)
    values = np.array([row.value for table in tables for row in table], dtype=np.float64)
    digest = hashlib.sha256((np.round(values, 6) + 0.0).tobytes()).digest()
    return np.random.default_rng(list(digest)).standard_normal((len(tables), draws))
