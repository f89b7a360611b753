"""Which layer gives something away, since which audited epoch, to which adversary, and how sure that is."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from ptaudit.report.answer import limit_text, view_words
from ptaudit.report.document import Cell, Column, Drawn, Grid, grid_of, share_cell, status_cell
from ptaudit.report.words import adversary_text, count, interval_text, is_null, plural, share
from ptaudit.spec.catalog import JOINT
from ptaudit.stats.estimate import OK
from ptaudit.tables.ranking import AT_CEILING, rank
from ptaudit.tables.row import Row
from ptaudit.tables.spec import views_of
from ptaudit.tables.status import MEANINGS, first_word
from ptaudit.tables.table import Table, strongest
from ptaudit.tables.wide import primary_rows

if TYPE_CHECKING:
    from ptaudit.report.summary import Summary
    from ptaudit.tables.run import Run

_POINTWISE = (
    "First seen: the first audited epoch whose 95 % interval lies above a guess. Intervals are of one number at a "
    "time: of 40 numbers of layers that give nothing away, about one looks as if it did."
)


@dataclass(frozen=True)
class _Line:
    """A layer's number at the last epoch, since when there is something, and how many others reach as much."""

    row: Row
    since: str
    tied: int = 0


def worst_layers(run: Run) -> Grid:
    """Of each game and view the layer that gives away most at the last epoch."""
    rows, views = run.rows.as_trained, views_of(run.spec_text)
    rows = primary_rows(rows.take(~rows.are(layer=JOINT)))
    lines = [
        _worst(strongest(rows.where(game=game, view=view, knows=knows), "layer", "epoch"))
        for game, view, knows in rows.distinct("game", "view", "knows")
    ]
    columns: tuple[Drawn[_Line], ...] = (
        (Column("game"), lambda line: Cell(line.row.game, "strong")),
        (Column("what is seen"), lambda line: Cell(view_words(line.row.view, views.get(line.row.view)))),
        (Column("layer"), lambda line: Cell(_layer(line), "strong")),
        *_HOW,
    )
    return _told("worst", "The layer that gives away most, by view", columns, lines)


def since_grid(run: Run, summary: Summary, most: int) -> Grid:
    """The layers of the view that the other tables are about, the most leaking first."""
    if summary.focus is None:
        return Grid("since", "", (), ())
    here = run.rows.as_trained.where(view=summary.focus.view, game=summary.focus.games[0], metric="bits")
    best = strongest(here, "layer", "epoch")
    last = {row.layer: row for row in best.where(epoch=best.last_epoch)}
    rows = [last[line.layer] for line in summary.layers[:most] if line.layer in last]
    columns: tuple[Drawn[_Line], ...] = ((Column("layer"), lambda line: Cell(line.row.layer, "strong")), *_HOW)
    title = f"{summary.focus.games[0]} in view {summary.focus.view}: since when, by whom, how sure"
    return _told("since", title, columns, [_Line(row, _since(best.where(layer=row.layer))) for row in rows])


_HOW: tuple[Drawn[_Line], ...] = (
    (Column("number [95 %] at the end", right=True), lambda line: Cell(f"{line.row.metric} {interval_text(line.row)}")),
    (Column("of what could be found", right=True), lambda line: share_cell(line.row, with_ceiling=True)),
    (Column("first seen at epoch"), lambda line: Cell(line.since)),
    (
        Column("by whom"),
        lambda line: Cell(adversary_text(line.row.adversary, line.row.knowledge, line.row.knows), "dim"),
    ),
    (Column("records", right=True), lambda line: Cell(count(line.row.n))),
    (Column("caution"), lambda line: Cell("") if line.row.status == OK else status_cell(line.row)),
)


def _told(name: str, title: str, columns: Iterable[Drawn[_Line]], lines: Sequence[_Line]) -> Grid:
    grid = grid_of(name, title, columns, lines)
    return replace(grid, notes=(Cell(_POINTWISE), *meanings(line.row for line in lines)))


def meanings(rows: Iterable[Row]) -> tuple[Cell, ...]:
    """What the cautions of some rows mean, a line each."""
    there = {first_word(row.status) for row in rows}
    return tuple(Cell(f"{word}: {text}") for word, text in MEANINGS.items() if word in there)


def _worst(best: Table) -> _Line:
    last = sorted(best.where(epoch=best.last_epoch), key=lambda row: row.layer_index)
    worst = max(last, key=rank)
    tied = sum((share(row) or 0.0) >= AT_CEILING for row in last) - 1
    return _Line(worst, _since(best.where(layer=worst.layer)), max(tied, 0))


def _layer(line: _Line) -> str:
    if is_null(line.row):
        return f"none was found (highest: {line.row.layer})"
    return line.row.layer + (f" and {plural(line.tied, 'other')}, all at the ceiling" if line.tied else "")


def _since(rows: Table) -> str:
    """The first epoch at which something was found; else what could not have been."""
    there = [row for row in rows if row.measured]
    seen = [row.epoch for row in there if not is_null(row)]
    return str(min(seen)) if seen else f"never{limit_text(there[-1])}" if there else "not measured"
