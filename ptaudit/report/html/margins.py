"""Gates with the distance to their limit, and what would decide one that is undecided."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from ptaudit.report.document import Cell, Column, Drawn, Grid, grid_of
from ptaudit.report.pages import OUTCOME_TONE, gate_grid, gate_rule
from ptaudit.report.words import adversary_text, bounds_text, count, number, view_text

if TYPE_CHECKING:
    from ptaudit.tables.run import Run
    from ptaudit.tables.verdict import Verdict


def margin_grid(run: Run) -> Grid:
    """Every gate with its worst row, how far its bounds are from the limit, reasons and advice."""
    columns: tuple[Drawn[Verdict], ...] = (
        (Column("outcome"), lambda gate: Cell(gate.outcome.upper(), OUTCOME_TONE[gate.outcome])),
        (Column("gate"), lambda gate: Cell(gate.id, "strong")),
        (Column("asks"), lambda gate: Cell(gate_rule(gate))),
        (Column("worst [simultaneous]", right=True), lambda gate: Cell(bounds_text(gate.value, gate.lo, gate.hi, 3))),
        (Column("distance to the limit"), lambda gate: Cell(distance(gate, run))),
        (
            Column("where"),
            lambda gate: Cell(
                f"view {view_text(gate.view, gate.trained_with)}, layer {gate.worst_layer}, epoch {gate.worst_epoch}"
            ),
        ),
        (Column("to whom"), lambda gate: Cell(adversary_text(gate.worst_adversary, "adaptive", gate.worst_knows))),
    )
    grid = grid_of("gate", "", columns, run.verdicts)
    return Grid(grid.name, grid.title, grid.columns, grid.rows, notes=gate_grid(run.verdicts, "", most=None).notes)


def distance(gate: Verdict, run: Run) -> str:
    """How far the bound that decides is from the limit; of an undecided gate how many records would decide it.

    The interval shrinks with the root of the number of records: that is all that the estimate knows.
    """
    if not math.isfinite(gate.lo):
        return "not measured"
    if gate.outcome == "pass":
        return f"upper bound {number(gate.threshold - gate.hi, 3)} below it"
    if gate.outcome == "fail":
        return f"lower bound {number(gate.lo - gate.threshold, 3)} above it"
    gap = abs(gate.value - gate.threshold)
    half = gate.hi - gate.value if gate.value < gate.threshold else gate.value - gate.lo
    n = _records(gate, run)
    if not n or gap <= 0 or half <= gap:
        return "the interval holds the limit"
    needed = count(_rounded(n * (half / gap) ** 2))
    return f"the interval holds the limit; about {needed} records in place of {count(n)} would decide"


def _records(gate: Verdict, run: Run) -> int:
    """Behind the worst row; of several seeds those of one."""
    there = run.rows.where(
        view=gate.view, game=gate.game, metric=gate.metric.partition(".")[2], layer=gate.worst_layer,
        epoch=gate.worst_epoch, adversary=gate.worst_adversary, knows=gate.worst_knows, trained_with=gate.trained_with,
    )  # fmt: skip
    return max((row.n for row in there if row.measured), default=0)


def _rounded(records: float) -> int:
    """To two digits: more would be a promise."""
    size = 10 ** max(math.floor(math.log10(records)) - 1, 0)
    return int(math.ceil(records / size) * size)
