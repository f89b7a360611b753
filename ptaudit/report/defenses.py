"""The sections on defenses and on what adversaries know."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

from ptaudit.report.document import Cell, Column, Drawn, Grid, drop_blank_columns, grid_of, share_cell
from ptaudit.report.words import adversary_text, bounds_text, interval_text, number
from ptaudit.spec.catalog import JOINT
from ptaudit.tables.defenses import NONE, DefenseLine, defense_lines
from ptaudit.tables.row import Row
from ptaudit.tables.status import first_word
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
    columns: tuple[Drawn[DefenseLine], ...] = (
        (Column("trained with", elastic=20), lambda line: Cell(line.entry.title, "strong")),
        (
            Column("accuracy" if classes else "loss", right=True),
            lambda line: Cell(number(line.entry.held_out_accuracy if classes else line.entry.held_out_loss, 3)),
        ),
        (Column("epsilon", right=True), lambda line: Cell(_or_blank(line.entry.epsilon, ".3g"))),
        (Column("view", elastic=12), lambda line: Cell(line.view)),
        (
            Column("shown as", elastic=12),
            lambda line: Cell("" if line.shown in (line.entry.title, NONE) else line.shown, "dim"),
        ),
        (
            Column("score", elastic=16),
            lambda line: Cell(adversary_text(f"{line.game}.{line.metric}", "adaptive", line.knows)),
        ),
        (Column("static [95 %]", right=True), lambda line: Cell(_interval(line.static))),
        (Column("adaptive [95 %]", right=True), lambda line: Cell(_interval(line.adaptive))),
        (Column("of ceiling", right=True, minor=1), lambda line: share_cell(line.adaptive)),
        (Column("adversary", minor=3), lambda line: Cell(line.adaptive.adversary if line.adaptive else "", "dim")),
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
    return drop_blank_columns(replace(grid_of("defense", title, columns, lines), notes=tuple(map(Cell, texts))))


def _interval(row: Row | None) -> str:
    if row is None:
        return "-"
    return bounds_text(row.value, row.lo, row.hi, 3) if row.measured else first_word(row.status)


def threat_grid(run: Run) -> Grid:
    """What adversaries of different knowledge find: a row for each, the joint row alone."""
    names = list(swept(run))
    lines = [t for t in threats(run) if t.row.layer == JOINT and t.row.metric == "bits" and t.row.as_trained]
    lines = [t for t in lines if t.row.knowledge != "static"] if names else []
    columns: tuple[Drawn[Threat], ...] = (
        (Column("game"), lambda t: Cell(t.row.game, "strong")),
        *(
            (Column(_NAMES.get(name, name), right=True), lambda t, name=name: Cell(_or_blank(t.knows[name])))
            for name in names
        ),
        (Column("view"), lambda t: Cell(t.row.view, "dim")),
        (Column("adversary"), lambda t: Cell(adversary_text(t.row.adversary, t.row.knowledge, t.row.knows))),
        (Column("bits [95 %]", right=True), lambda t: Cell(interval_text(t.row))),
        (Column("of ceiling", right=True), lambda t: share_cell(t.row)),
        (Column("null", right=True, minor=1), lambda t: Cell(number(t.row.null, 3), "dim")),
        (Column("n", right=True, minor=3), lambda t: Cell(str(t.row.n), "dim")),
        (Column("status", minor=4), lambda t: Cell(first_word(t.row.status) if t.row.status != "ok" else "", "warn")),
    )
    return grid_of("threat", "What the adversary knows (all layers jointly, last epoch)", columns, lines)


def _or_blank(value: str | float, form: str = "") -> str:
    """A value in words; nothing where a number does not exist."""
    return "" if isinstance(value, float) and math.isnan(value) else format(value, form)
