"""The numbers that a gate decides on: rows of one run, or their increase over a baseline."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ptaudit.errors import PtauditError
from ptaudit.tables.bounds import row_bounds
from ptaudit.tables.columns import Array, best_of, first_of, keys, places_of
from ptaudit.tables.pairs import Pairs, mismatch, same_records, sample_differences, seed_differences
from ptaudit.tables.row import KEY_COLUMNS
from ptaudit.tables.run import Run
from ptaudit.tables.seeds import degrees_of_freedom
from ptaudit.tables.table import Table

if TYPE_CHECKING:
    from ptaudit.spec.audit import GateSpec


@dataclass(frozen=True)
class Cases:
    """All that a gate looks at: the rows that were measured, with values and simultaneous bounds (rows,), and those
    that were not."""

    measured: Table
    value: Array
    lo: Array
    hi: Array
    missing: Table

    def __len__(self) -> int:
        return len(self.measured) + len(self.missing)


def level_cases(rows: Table, run: Run) -> Cases:
    """The rows' own values."""
    there = rows.measured
    measured, missing = rows.take(there), rows.take(~there)
    if not len(measured):
        return _nothing(missing)
    lower, upper = row_bounds(measured, degrees_of_freedom(measured, run.seeds))
    return Cases(measured, measured.number("value"), lower, upper, missing)


def increase_cases(gate: GateSpec, rows: Table, run: Run, baseline: Run) -> Cases:
    """The rows' increases over the baseline; a pair of which one side was not measured is missing.

    With several seeds on both sides the noise is that between seeds, else that of the records.

    Raises:
        PtauditError: if the baseline lacks a row or audits something else.
    """
    alike = same_records(baseline, run)
    if alike is False:
        raise _not_comparable(gate, "it splits the data in another way (split_sha256 differs)")
    before, after = _pairs(gate, rows, baseline)
    there = before.measured & after.measured
    unmeasured = zip(before.take(~there), after.take(~there)) if not there.all() else ()
    missing = Table.of([first if second.measured else second for first, second in unmeasured])
    pairs = before.take(there), after.take(there)
    for place, problem in enumerate(mismatch(pairs, baseline, run).tolist()):
        if problem:
            row = pairs[1][place]
            raise _not_comparable(gate, f"layer {row.layer}, epoch {row.epoch}: {problem}")
    if not len(pairs[0]):
        return _nothing(missing)
    if several_seeds(baseline, run) and not gate.same_weights:
        differences = seed_differences(pairs, baseline, run, with_records=alike is None)
    else:
        differences = sample_differences(pairs, paired=alike is True)
    lower, upper = differences.bounds(pairs[1].number("ceiling"))
    return Cases(pairs[1], differences.value, lower, upper, missing)


def _nothing(missing: Table) -> Cases:
    none = np.empty(0)
    return Cases(missing[:0], none, none, none, missing)


def several_seeds(*runs: Run) -> bool:
    """Whether every run has the tables of at least two seeds."""
    return all(len(run.seeds) > 1 for run in runs)


def _pairs(gate: GateSpec, rows: Table, baseline: Run) -> Pairs:
    if gate.epoch == "max":
        before, after, names = _peaks(baseline.rows), _peaks(rows), KEY_COLUMNS[1:]
    else:
        before, after, names = baseline.rows, rows, KEY_COLUMNS
    places = places_of(*keys(names, after, before))
    missing = np.flatnonzero(places < 0)
    if len(missing):
        first = after[int(missing[0])]
        raise PtauditError(
            f"no baseline row for layer {first.layer}, view {first.view}, epoch {first.epoch}, {first.adversary}",
            where=f"gate {gate.id}",
            remedy="audit the baseline with the same spec",
        )
    return before.take(places), after


def _peaks(rows: Table) -> Table:
    """The row of the largest value over the epochs, of those that differ in it alone; an unmeasured one stands for its
    kind."""
    _, group = first_of(keys(KEY_COLUMNS[1:], rows)[0])
    return rows.take(best_of(group, np.where(rows.measured, rows.number("value"), np.inf)))


def _not_comparable(gate: GateSpec, why: str) -> PtauditError:
    return PtauditError(
        f"the baseline is not comparable: {why}",
        where=f"gate {gate.id}",
        remedy="audit the baseline with the same spec",
    )
