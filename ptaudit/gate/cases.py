"""The numbers that a gate decides on: rows of one run, or their increase over a baseline."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from ptaudit.errors import PtauditError
from ptaudit.gate.select import GateLike
from ptaudit.tables.bounds import row_bounds
from ptaudit.tables.pairs import Pair, mismatch, same_records, sample_differences, seed_differences
from ptaudit.tables.row import Row
from ptaudit.tables.run import Run
from ptaudit.tables.seeds import degrees_of_freedom

T = TypeVar("T")


@dataclass(frozen=True)
class Case:
    """A measured number with its simultaneous bounds."""

    row: Row
    value: float
    lo: float
    hi: float


@dataclass(frozen=True)
class Cases:
    """All that a gate looks at: what was measured, and the rows that were not."""

    measured: list[Case]
    missing: list[Row]

    def __len__(self) -> int:
        return len(self.measured) + len(self.missing)


def level_cases(rows: Sequence[Row], run: Run) -> Cases:
    """The rows' own values."""
    measured, missing = _divide(rows, lambda row: row.measured)
    if not measured:
        return Cases([], missing)
    lower, upper = row_bounds(measured, degrees_of_freedom(measured, run.seeds))
    return Cases([Case(row, row.value, float(lo), float(hi)) for row, lo, hi in zip(measured, lower, upper)], missing)


def increase_cases(gate: GateLike, rows: Sequence[Row], run: Run, baseline: Run) -> Cases:
    """The rows' increases over the baseline; a pair of which one side was not measured is missing.

    With several seeds on both sides the noise is that between seeds, else that of the records.

    Raises:
        PtauditError: if the baseline lacks a row or audits something else.
    """
    alike = same_records(baseline, run)
    if alike is False:
        raise _not_comparable(gate, "it splits the data in another way (split_sha256 differs)")
    pairs, unmeasured = _divide(_pairs(gate, rows, baseline), lambda pair: pair[0].measured and pair[1].measured)
    missing = [before if after.measured else after for before, after in unmeasured]
    for pair in pairs:
        problem = mismatch(pair, baseline, run)
        if problem:
            raise _not_comparable(gate, f"layer {pair[1].layer}, epoch {pair[1].epoch}: {problem}")
    if not pairs:
        return Cases([], missing)
    if several_seeds(baseline, run) and not gate.same_weights:
        differences = seed_differences(pairs, baseline, run, with_records=alike is None)
    else:
        differences = sample_differences(pairs, paired=alike is True)
    lower, upper = differences.bounds(np.array([row.ceiling for _, row in pairs]))
    ends = zip(pairs, differences.value, lower, upper)
    return Cases([Case(row, float(value), float(lo), float(hi)) for (_, row), value, lo, hi in ends], missing)


def several_seeds(*runs: Run) -> bool:
    """Whether every run has the tables of at least two seeds."""
    return all(len(run.seeds) > 1 for run in runs)


def _pairs(gate: GateLike, rows: Sequence[Row], baseline: Run) -> list[Pair]:
    if gate.epoch == "max":
        before, after = _peaks(baseline.rows), _peaks(rows)
    else:
        before, after = {row.key: row for row in baseline.rows}, {row.key: row for row in rows}
    missing = [row for key, row in after.items() if key not in before]
    if missing:
        first = missing[0]
        raise PtauditError(
            f"no baseline row for layer {first.layer}, view {first.view}, epoch {first.epoch}, {first.adversary}",
            where=f"gate {gate.id}",
            remedy="audit the baseline with the same spec",
        )
    return [(before[key], row) for key, row in after.items()]


def _peaks(rows: Iterable[Row]) -> dict[tuple[object, ...], Row]:
    """The row of the largest value over the epochs, by key without the epoch; an unmeasured one stands for its kind."""
    peaks: dict[tuple[object, ...], Row] = {}
    for row in rows:
        key = row.key[1:]
        held = peaks.get(key)
        if held is None or (held.measured and (not row.measured or row.value > held.value)):
            peaks[key] = row
    return peaks


def _not_comparable(gate: GateLike, why: str) -> PtauditError:
    return PtauditError(
        f"the baseline is not comparable: {why}",
        where=f"gate {gate.id}",
        remedy="audit the baseline with the same spec",
    )


def _divide(items: Iterable[T], condition: Callable[[T], bool]) -> tuple[list[T], list[T]]:
    kept: list[T] = []
    others: list[T] = []
    for item in items:
        (kept if condition(item) else others).append(item)
    return kept, others
