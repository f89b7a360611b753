"""The numbers that a gate decides on: rows of one run, or their increase over a baseline."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

import numpy as np

from ptaudit.errors import PtauditError
from ptaudit.estimators.registry import ESTIMATORS
from ptaudit.spec.catalog import JOINT
from ptaudit.tables.bounds import row_bounds
from ptaudit.tables.columns import Array, Mask, best_of, first_of, keys, places_of
from ptaudit.tables.pairs import PairedTables, mismatch, same_records, sample_differences, seed_differences
from ptaudit.tables.row import KEY_COLUMNS
from ptaudit.tables.run import Run
from ptaudit.tables.seeds import degrees_of_freedom
from ptaudit.tables.status import is_silent
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

    @property
    def saturated(self) -> Mask:
        """Which of those that were measured could hardly have shown more, however much there is."""
        return self.measured.are(status="saturated")


def level_cases(gate: GateSpec, rows: Table, run: Run) -> Cases:
    """The rows' own values; for a gate on `max_share` as shares of their ceilings.

    Raises:
        PtauditError: a row has no ceiling to have a share of.
    """
    there = rows.measured
    measured, missing = rows.take(there), rows.take(~there)
    if not len(measured):
        return _nothing(missing)
    lower, upper = row_bounds(measured, degrees_of_freedom(measured, run.seeds))
    whole = _ceilings(gate, measured) if gate.kind == "max_share" else 1.0
    return Cases(measured, measured.number("value") / whole, lower / whole, upper / whole, missing)


def _ceilings(gate: GateSpec, rows: Table) -> Array:
    ceilings = rows.number("ceiling")
    without = np.flatnonzero(~(np.isfinite(ceilings) & (ceilings > 0)))
    if len(without):
        row = rows[int(without[0])]
        what = f"layer {row.layer}, epoch {row.epoch}, {row.adversary}: the row has no ceiling to have a share of"
        raise PtauditError(what, where=f"gate {gate.id}", remedy="use max in the place of max_share")
    return np.asarray(ceilings)


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


def _pairs(gate: GateSpec, rows: Table, baseline: Run) -> PairedTables:
    """The rows and those of the baseline that they are held against: of the same epoch where the gate names one, else
    the last with the last, the first with the first, the worst with the worst, whichever epochs these are."""
    before, after, names = baseline.rows, rows, KEY_COLUMNS[1:]
    if gate.epoch == "max":
        before, after = _peaks(before), _peaks(after)
    elif gate.epoch in _ENDS:
        before = before.where(epoch=_end(before, gate.epoch))
    else:
        names = KEY_COLUMNS
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


_ENDS = ("last", "first")


def _end(rows: Table, which: str | int) -> int:
    """The last or the first epoch of a table; an epoch by its number is itself."""
    epochs = rows.number("epoch")
    return int({"last": epochs.max, "first": epochs.min}[which]()) if which in _ENDS else int(which)


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


def select(gate: GateSpec, rows: Table, *, view: str = "", trained_with: str = "") -> Table:
    """The rows that a gate looks at. Static adversaries and layers without a gradient never feed one.

    Of several estimators the first one of the game speaks, unless the gate names another: they are readings of one
    quantity, and the worst of them is no worse leak. Where it has no row and another one has, it is silent, which is
    not the same as having found nothing.

    Args:
        gate: the gate.
        rows: the whole table.
        view: look at another view than the gate does.
        trained_with: look at another training.

    Returns:
        Its rows, in the order of the table.

    Raises:
        PtauditError: if there is none, naming what there is instead.
    """
    kept = rows.take(rows.adaptive & ~rows.text("status").where(is_silent))
    kept = _narrow(gate, kept, "metric", gate.metric, {"game": gate.game, "metric": gate.measure})
    view, trained_with = view or gate.view, trained_with or gate.trained_with
    kept = _narrow(gate, kept, "training", trained_with, {"trained_with": trained_with})
    kept = _narrow(gate, kept, "view", view, {"view": view})
    if gate.adversary is not None:
        kept = _narrow(gate, kept, "adversary", gate.adversary, {"adversary": gate.adversary})
    else:
        readings = rows.where(game=gate.game, adversary=ESTIMATORS)[:1].text("adversary").tolist()
        kept = _spoken(kept, readings)
    if gate.knows is not None:
        kept = _narrow(gate, kept, "knowledge", gate.knows, {"knows": gate.knows})
    if gate.epoch not in ("all", "max"):
        wanted = _end(rows, gate.epoch)
        kept = _narrow(gate, kept, "epoch", wanted, {"epoch": wanted})
    over = [layer for layer in kept.text("layer").counts() if covers(gate.over, layer)]
    return _narrow(gate, kept, "layer", gate.over, {"layer": over})


def _spoken(rows: Table, speakers: list[str]) -> Table:
    """The rows without those of estimators that do not speak; where the one that does has none, it has no number."""
    instrument, speaks = rows.instrument, rows.are(adversary=speakers)
    others, own = rows.take(instrument & ~speaks), rows.take(instrument & speaks)
    asked, answered = keys([name for name in KEY_COLUMNS if name != "adversary"], others, own)
    kept = rows.take(~instrument | speaks)
    silent = first_of(asked[~np.isin(asked, answered)])[0]
    if not len(silent):
        return kept
    nan, said = math.nan, f"inconclusive: no row of {', '.join(speakers)}"
    lost = [
        replace(row, adversary=speakers[0], value=nan, lo=nan, hi=nan, status=said)
        for row in others.take(np.flatnonzero(~np.isin(asked, answered))[silent])
    ]
    return Table.of([*kept, *lost])


def covers(over: str, layer: str) -> bool:
    """Whether a gate over some rows looks at those of a layer, or of all jointly."""
    if over in ("joint", "layers", "all"):
        return over == "all" or (layer == JOINT) == (over == "joint")
    return layer != JOINT and fnmatchcase(layer, over)


def _narrow(gate: GateSpec, rows: Table, noun: str, wanted: object, columns: Mapping[str, object]) -> Table:
    """The rows with these values in these columns."""
    kept = rows.where(**columns)
    if not len(kept):
        there = ", ".join(".".join(map(str, names)) for names in rows.distinct(*columns)) or "none"
        raise PtauditError(f"no {noun} matches `{wanted}`", where=f"gate {gate.id}", remedy=f"there are: {there}")
    return kept
