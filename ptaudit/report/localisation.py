"""The section on layers: what a secret and the input move, and how far apart its groups lie."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ptaudit.report.document import Cell, Column, Grid, drop_blank_columns
from ptaudit.report.words import interval_text, number
from ptaudit.spec.metrics import METRICS
from ptaudit.spec.registry import GAMES
from ptaudit.tables.row import Row

if TYPE_CHECKING:
    from ptaudit.tables.run import Run

_METRICS = GAMES["localisation"].metrics


def _is_distance(name: str) -> bool:
    """Whether a metric is to be read beside its null."""
    return METRICS[name].unit == "distance"


def localisation_grid(run: Run) -> Grid:
    """A row for each layer at the last epoch; a distance is to be read beside its null."""
    rows = run.rows.as_trained.where(metric=_METRICS)
    last = rows.last_epoch
    lines: dict[tuple[str, str], dict[str, Row]] = {}
    for row in sorted(rows.where(epoch=last), key=lambda row: row.layer_index):
        lines.setdefault((row.game, row.layer), {})[row.metric] = row
    columns = [Column("game"), Column("layer"), Column("type")]
    for metric in _METRICS:
        columns.append(Column(f"{metric.replace('_', ' ')} [95 %]", right=True))
        if _is_distance(metric):
            columns.append(Column("null", right=True))
    cells = tuple((Cell(game), Cell(layer), *_cells(found)) for (game, layer), found in lines.items())
    title = f"Which layers a secret and the input move, at epoch {last}"
    shown = [row for found in lines.values() for row in found.values()]
    reasons = dict.fromkeys(f"{row.metric.replace('_', ' ')}: {row.status}" for row in shown if not row.measured)
    notes = tuple(Cell(reason) for reason in reasons)
    return drop_blank_columns(Grid("localisation", title, tuple(columns), cells, "", notes))


def _cells(found: dict[str, Row]) -> Sequence[Cell]:
    some = next(iter(found.values()))
    cells = [Cell(some.layer_type)]
    for metric in _METRICS:
        row = found.get(metric)
        measured = row is not None and row.measured
        cells.append(Cell(interval_text(row) if row is not None and measured else "-"))
        if _is_distance(metric):
            cells.append(Cell(number(row.null, 2) if row is not None and measured else ""))
    return cells
