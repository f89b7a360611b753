"""The sections on defenses and on what adversaries know."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from ptaudit.report.cells import share_cell
from ptaudit.report.document import Cell, Column, Grid, drop_blank_columns
from ptaudit.report.words import adversary_text, bounds_text, interval_text, number
from ptaudit.spec.catalog import JOINT
from ptaudit.tables.defenses import NONE, DefenseLine, defense_lines
from ptaudit.tables.row import Row
from ptaudit.tables.sweeps import Threat, swept, threats

if TYPE_CHECKING:
    from ptaudit.tables.run import Run

_SHOWN = ("bits",)
_IN_FULL = ("bits", "auc", "tpr_at_fpr_0.01")
_NAMES = {
    "batch_size": "m",
    "fixed_batch": "same batch",
    "local_steps": "local steps",
    "own_records": "own records",
}


def defense_grid(run: Run, *, full: bool = False) -> Grid:
    """Each defense with the accuracy that it costs, and what the adversaries with and without it in mind find.

    Args:
        run: the run.
        full: with AUC and TPR too; else bits alone.
    """
    wanted = _IN_FULL if full else _SHOWN
    lines = [line for line in defense_lines(run) if line.metric in wanted]
    if not run.defenses:  # views without a defense are in the other tables
        lines = [line for line in lines if line.shown != NONE]
    classes = all(math.isfinite(line.entry.held_out_accuracy) for line in lines)
    columns = (
        Column("trained with", elastic=20),
        Column("accuracy" if classes else "loss", right=True),
        Column("epsilon", right=True),
        Column("view", elastic=12),
        Column("shown as", elastic=12),
        Column("score", elastic=16),
        Column("static [95 %]", right=True),
        Column("adaptive [95 %]", right=True),
        Column("of ceiling", right=True, minor=1),
        Column("adversary", minor=3),
    )
    what = "accuracy" if classes else "loss"
    texts = [
        "static: fitted on undefended views; below 0 is worse than a guess. adaptive: fitted on defended ones",
        f"{what}: of held-out records, of one training for each seed; no interval",
    ]
    share = run.manifest.get("held_out_majority")
    if classes and isinstance(share, float):
        texts.append(f"always the most frequent class has accuracy {share:.3f}")
    title = f"Defenses: held-out {what} and joint leakage at the last epoch"
    cells = tuple(_defense_cells(line, classes) for line in lines)
    return drop_blank_columns(Grid("defense", title, columns, cells, "", tuple(map(Cell, texts))))


def _defense_cells(line: DefenseLine, classes: bool) -> tuple[Cell, ...]:
    entry = line.entry
    held_out = entry.held_out_accuracy if classes else entry.held_out_loss
    return (
        Cell(entry.title, "strong"),
        Cell(number(held_out, 3)),
        Cell("" if math.isnan(entry.epsilon) else f"{entry.epsilon:.3g}"),
        Cell(line.view),
        Cell("" if line.shown == entry.title or line.shown == NONE else line.shown, "dim"),
        Cell(adversary_text(f"{line.game}.{line.metric}", "adaptive", line.knows)),
        Cell(_interval(line.static)),
        Cell(_interval(line.adaptive)),
        share_cell(line.adaptive),
        Cell(line.adaptive.adversary if line.adaptive else "", "dim"),
    )


def _interval(row: Row | None) -> str:
    if row is None:
        return "-"
    return bounds_text(row.value, row.lo, row.hi, 3) if row.measured else row.status.partition(":")[0]


def threat_grid(run: Run) -> Grid:
    """What adversaries of different knowledge find: a row for each, the joint row alone."""
    names = list(swept(run))
    lines = [t for t in threats(run) if t.row.layer == JOINT and t.row.metric == "bits" and t.row.as_trained]
    lines = [t for t in lines if t.row.knowledge != "static"] if names else []
    columns = (
        Column("game"),
        *(Column(_NAMES.get(name, name), right=True) for name in names),
        Column("view"),
        Column("adversary"),
        Column("bits [95 %]", right=True),
        Column("of ceiling", right=True),
        Column("null", right=True, minor=1),
        Column("n", right=True, minor=3),
        Column("status", minor=4),
    )
    rows = tuple(_threat_cells(threat, names) for threat in lines)
    return Grid("threat", "What the adversary knows (all layers jointly, last epoch)", columns, rows)


def _threat_cells(threat: Threat, names: list[str]) -> tuple[Cell, ...]:
    row = threat.row
    return (
        Cell(row.game, "strong"),
        *(Cell("" if _blank(threat.knows[name]) else str(threat.knows[name])) for name in names),
        Cell(row.view, "dim"),
        Cell(adversary_text(row.adversary, row.knowledge, row.knows)),
        Cell(interval_text(row)),
        share_cell(row),
        Cell(number(row.null, 3), "dim"),
        Cell(str(row.n), "dim"),
        Cell(row.status.partition(":")[0] if row.status != "ok" else "", "warn"),
    )


def _blank(value: object) -> bool:
    return isinstance(value, float) and math.isnan(value)
