"""Gates with the distance to their limit, and what would decide one that is undecided."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from ptaudit.report.document import Cell, Column, Drawn, Grid, grid_of
from ptaudit.report.pages import OUTCOME_TONE, gate_grid, gate_rule
from ptaudit.report.words import adversary_text, bounds_text, count, layer_words, number, view_text

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
        (Column("distance to the limit"), lambda gate: Cell(distance(gate))),
        (
            Column("where"),
            lambda gate: Cell(
                f"view {view_text(gate.view, gate.trained_with)}, {layer_words(gate.worst_layer)}, "
                f"epoch {gate.worst_epoch}"
            ),
        ),
        (Column("by whom"), lambda gate: Cell(adversary_text(gate.worst_adversary, "adaptive", gate.worst_knows))),
    )
    grid = grid_of("gate", "", columns, run.verdicts)
    return Grid(grid.name, grid.title, grid.columns, grid.rows, notes=gate_grid(run.verdicts, "", most=None).notes)


def distance(gate: Verdict) -> str:
    """How far the bound that decides is from the limit; of an undecided gate about how many records would decide it."""
    if not math.isfinite(gate.lo):
        return "not measured"
    if gate.outcome == "pass":
        return f"upper bound {number(gate.threshold - gate.hi, 3)} below it"
    if gate.outcome == "fail":
        return f"lower bound {number(gate.lo - gate.threshold, 3)} above it"
    if gate.needed is None:
        return "the interval holds the limit"
    return f"the interval holds the limit; about {count(gate.needed)} records in place of {count(gate.n)} would decide"
