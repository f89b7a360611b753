"""What `ptaudit check` says of data and checkpoints: columns of a table, class names, files by epoch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

from ptaudit.errors import listed
from ptaudit.report.document import Cell, Column, Drawn, Grid, T, drop_blank_columns, grid_of
from ptaudit.report.words import count, plural

MOST_LINES = 40
"""Longer lists are cut; JSON has all of them."""

_FEWEST_ALIKE = 4
_MOST_NAMES = 12


@dataclass(frozen=True)
class ColumnEntry:
    """A column of a table.

    Attributes:
        name: its name.
        kind: what it holds; empty where nobody read it.
        levels: how many different values, of categories and of what is kept aside; None where nobody counted.
        missing: how many entries are missing; None where nobody counted.
        becomes: what the model gets of it, or what else it is used for.
        inputs: how many inputs of the model it became.
        other: share of the held-out records with a level that has no input of its own; None for what is no category.
    """

    name: str
    kind: str
    levels: int | None
    missing: int | None
    becomes: str
    inputs: int
    other: float | None


@dataclass(frozen=True)
class CheckpointEntry:
    """A checkpoint.

    Attributes:
        epoch: whole epochs that were trained before it.
        file: its folder and name.
        told: what stands in it, in words; empty where it says nothing.
        audited: whether it is audited.
    """

    epoch: int
    file: str
    told: str
    audited: bool


@dataclass(frozen=True)
class FrozenEntry:
    """A layer, or one parameter of a layer of which others are trained, that is not trained."""

    name: str
    parameters: int


def columns_grid(columns: Sequence[ColumnEntry]) -> Grid:
    """The columns of a table; neighbours that are alike share a line."""
    drawn: tuple[Drawn[_Alike], ...] = (
        (Column("column", elastic=28), lambda line: Cell(line[0], "strong")),
        (Column("kind"), lambda line: Cell(line[1].kind)),
        (Column("levels", right=True), lambda line: Cell("" if line[1].levels is None else count(line[1].levels))),
        (
            Column("missing", right=True),
            lambda line: Cell(count(line[1].missing), "warn") if line[1].missing else _BLANK,
        ),
        (Column("becomes", elastic=24), lambda line: Cell(line[1].becomes, "" if line[1].inputs else "dim")),
        (
            Column("held out in other", right=True),
            lambda line: Cell(f"{100 * line[1].other:.1f} %", "warn") if line[1].other else _BLANK,
        ),
    )
    return _cut("column", "Columns", drawn, list(_lines(columns)))


_Alike = tuple[str, ColumnEntry]
"""Columns in a line: their names, and one of them."""
_BLANK = Cell("")


def _lines(columns: Sequence[ColumnEntry]) -> Iterator[_Alike]:
    for _, group in groupby(columns, lambda c: (c.kind, c.levels, c.missing, c.becomes, c.other)):
        alike = list(group)
        if len(alike) >= _FEWEST_ALIKE:
            yield f"{alike[0].name} … {alike[-1].name} ({len(alike)})", alike[0]
        else:
            yield from ((one.name, one) for one in alike)


def files_grid(files: Sequence[CheckpointEntry]) -> Grid:
    """The checkpoints by epoch."""
    drawn: tuple[Drawn[CheckpointEntry], ...] = (
        (Column("epoch", right=True), lambda one: Cell(str(one.epoch))),
        (Column("checkpoint", elastic=40), lambda one: Cell(one.file, "strong")),
        (Column("in the file"), lambda one: Cell(one.told)),
        (Column("audited"), lambda one: Cell("" if one.audited else "no", "dim")),
    )
    return _cut("checkpoint", "Checkpoints", drawn, files)


def class_fact(names: Sequence[str]) -> tuple[tuple[str, str], ...]:
    """The names of the classes in the order of their codes."""
    if not names:
        return ()
    return (("classes", f"{len(names)}: {listed(names, _MOST_NAMES)}"),)


def frozen_fact(frozen: Sequence[FrozenEntry]) -> tuple[tuple[str, str], ...]:
    """What is not trained."""
    if not frozen:
        return ()
    total = plural(sum(one.parameters for one in frozen), "parameter")
    return (("frozen", f"{total}, never read: {listed([one.name for one in frozen], _MOST_NAMES)}"),)


def _cut(name: str, title: str, columns: Sequence[Drawn[T]], lines: Sequence[T]) -> Grid:
    """A table of the first lines."""
    more = f"… and {len(lines) - MOST_LINES} more lines: --format json" if len(lines) > MOST_LINES else ""
    return drop_blank_columns(grid_of(name, title, columns, lines[:MOST_LINES], more))
