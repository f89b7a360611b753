"""Which columns of a table come back from a gradient: of rebuilt records that a run kept, beside what a guess gets."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ptaudit.report.document import Cell, Column, Drawn, Grid, grid_of
from ptaudit.report.words import bounds_text, count, number
from ptaudit.spec.catalog import FIELD, GUESSED_FIELD
from ptaudit.stats.bootstrap import from_values
from ptaudit.stats.estimate import Estimate

if TYPE_CHECKING:
    import pandas as pd

_MOST = 40
_NAME = re.compile(rf"(?P<view>[^/]+)/(?P<attack>[^/]+)(?P<what>{FIELD}|{GUESSED_FIELD})(?P<field>.*)", re.DOTALL)
_RECORD = ["game", "view", "attack", "field", "record"]


@dataclass(frozen=True)
class FieldLine:
    """One column of a table, as one attack rebuilds it from one view.

    Attributes:
        view: what is seen.
        attack: who rebuilds it.
        field: the column.
        right: share of the records of which it is recovered.
        above: the same, less the share that the guess gets which is right most often; resampled by record.
    """

    view: str
    attack: str
    field: str
    right: Estimate
    above: Estimate


def field_lines(records: pd.DataFrame) -> list[FieldLine]:
    """Of each game and view the attack that recovers most fields at the last epoch; what comes back most comes first.

    Args:
        records: scores of single records as in `samples.csv`.
    """
    names = records.metric.drop_duplicates()
    parts = names.to_frame().join(names.str.extract(_NAME)).dropna()
    if parts.empty:
        return []
    named = records.merge(parts, on="metric")
    here = named[named.epoch == named.epoch.max()]
    # A row for each record, of all seeds together; runs of earlier releases did not keep the guess.
    wide = here.pivot_table(index=_RECORD, columns="what", values="value").reindex(columns=[FIELD, GUESSED_FIELD])
    wide = wide.dropna()
    lines = []
    for (_, view), of_view in wide.groupby(level=["game", "view"]):
        best = of_view[FIELD].groupby(level="attack").mean().idxmax()
        for field, own in of_view.xs(best, level="attack").groupby(level="field"):
            lines.append(_line(str(view), str(best), str(field), own.to_numpy(np.float64)))
    return sorted(lines, key=lambda line: (line.view, -line.above.value))


def _line(view: str, attack: str, field: str, own: np.ndarray) -> FieldLine:
    right, guessed = own.T
    null = float(guessed.mean())
    share = from_values(right, null=null, ceiling=1.0, seed=0).clipped(0.0, 1.0)
    return FieldLine(
        view, attack, field, share, from_values(right - guessed, null=0.0, ceiling=np.nan, seed=0).clipped(-1.0, 1.0)
    )


def field_grid(records: pd.DataFrame) -> Grid:
    """The lines as a table; empty where no fields were kept."""
    lines = field_lines(records)
    columns: tuple[Drawn[FieldLine], ...] = (
        (Column("view"), lambda line: Cell(line.view, "strong")),
        (Column("attack"), lambda line: Cell(line.attack, "dim")),
        (Column("field"), lambda line: Cell(line.field, "strong")),
        (Column("recovered [95 %]", right=True), lambda line: Cell(_interval(line.right))),
        (Column("by a guess", right=True), lambda line: Cell(number(line.right.null, 2))),
        (Column("above a guess [95 %]", right=True), _above),
        (Column("records", right=True), lambda line: Cell(count(line.right.n))),
    )
    shown = lines[:_MOST]
    more = f"… and {count(len(lines) - _MOST)} more in samples.csv" if len(lines) > _MOST else ""
    grid = grid_of("field", "Which fields of a record come back, by view: share of the records", columns, shown, more)
    return Grid(grid.name, grid.title, grid.columns, grid.rows, grid.more, (Cell(_READ),)) if shown else grid


_READ = (
    "Of each view the attack that recovers most fields at the last epoch. A guess is the most frequent value of a "
    "column among records that were not trained on; a number counts as recovered within 0.319 standard deviations. "
    "Only what lies above a guess comes from the gradient; intervals are of one field at a time."
)


def _above(line: FieldLine) -> Cell:
    found = line.above.lo > 0.0
    return Cell(_interval(line.above), "bad" if found and line.above.value >= 0.5 else "warn" if found else "")


def _interval(estimate: Estimate) -> str:
    return bounds_text(estimate.value, estimate.lo, estimate.hi, 2)
