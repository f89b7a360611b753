"""What attacks rebuilt: scores of the content of records, a line an attack; fields; and pictures that were kept."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ptaudit.report.document import Cell, Column, Drawn, Grid, Lines, drop_blank_columns, grid_of
from ptaudit.report.fields import field_grid
from ptaudit.report.html.pictures import kept_pictures
from ptaudit.report.words import adversary_text, count, interval_text, is_null
from ptaudit.spec.catalog import JOINT
from ptaudit.tables.status import worst_status

if TYPE_CHECKING:
    from pathlib import Path

    import pandas as pd

    from ptaudit.report.html.elements import Element
    from ptaudit.tables.row import Row
    from ptaudit.tables.run import Run

_SCORES = {
    "identified": "records named by it", "rebuilt": "records rebuilt", "explained_variance": "of the variance",
    "ssim": "SSIM", "fields": "of the fields", "tokens": "of the tokens", "labels_found": "of the labels",
    "tokens_found": "of a batch's tokens",
}  # fmt: skip
"""What is told of an attack, in words; the other scores are in `leakage.csv`."""
_READ = (
    "At the last epoch, each with its 95 % interval. Grey: no better than what the same attack scores against records "
    "that it did not see, or than the mean record. Other scores, nulls and adversaries that know of no "
    "defense are in leakage.csv."
)
_WARNING = "These are records of the training data, kept because --keep-records was asked for: do not publish them."


def rebuilt_parts(run: Run, records: pd.DataFrame, kept: Path | None) -> tuple[Element, ...]:
    """The table of attacks, that of fields, and the pictures with a warning."""
    rows = run.rows.as_trained
    games = [game for (game,) in rows.where(metric=list(_SCORES)).distinct("game")]
    here = rows.where(game=games, metric=list(_SCORES), layer=JOINT, epoch=rows.last_epoch)
    here = here.take(here.adaptive)
    lines: dict[tuple[str, ...], list[Row]] = {}
    for row in here:
        lines.setdefault((row.game, row.view, row.adversary, row.knows), []).append(row)
    columns: tuple[Drawn[Sequence[Row]], ...] = (
        (Column("view"), lambda found: Cell(found[0].view, "strong")),
        (Column("attack"), lambda found: Cell(_who(found[0], several=len(games) > 1))),
        *((Column(said, right=True), lambda found, name=name: _score(found, name)) for name, said in _SCORES.items()),
        (Column("records", right=True), lambda found: Cell(count(found[0].n))),
        (Column("caution"), lambda found: Cell(_caution(found), "warn")),
    )
    grid = drop_blank_columns(grid_of("rebuilt", "How much of a record each attack rebuilds", columns, lines.values()))
    whole = Grid(grid.name, grid.title, grid.columns, grid.rows, notes=(Cell(_READ),))
    pictures = kept_pictures(kept) if games else ()
    said = (Lines("", "", (Cell(_WARNING, "bad"),)),) if pictures else ()
    return (whole, field_grid(records), *said, *pictures)


def _who(row: Row, *, several: bool) -> str:
    who = adversary_text(row.adversary, row.knowledge, row.knows)
    return f"{row.game} by {who}" if several else who


def _score(found: Sequence[Row], name: str) -> Cell:
    row = next((row for row in found if row.metric == name and row.measured), None)
    return Cell("") if row is None else Cell(interval_text(row), "dim" if is_null(row) else "")


def _caution(found: Sequence[Row]) -> str:
    status = worst_status(row.status for row in found)
    return "" if status == "ok" else status
