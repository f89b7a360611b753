"""What `ptaudit check` says of data and checkpoints: columns of a table, class names, files by epoch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

from ptaudit.report.document import Cell, Column, Grid, drop_blank_columns
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
    titles = (
        Column("column", elastic=28),
        Column("kind"),
        Column("levels", right=True),
        Column("missing", right=True),
        Column("becomes", elastic=24),
        Column("held out in other", right=True),
    )
    lines = list(_lines(columns))
    grid = Grid("column", "Columns", titles, tuple(lines[:MOST_LINES]), _cut(len(lines)))
    return drop_blank_columns(grid)


def _lines(columns: Sequence[ColumnEntry]) -> Iterator[tuple[Cell, ...]]:
    for _, group in groupby(columns, lambda c: (c.kind, c.levels, c.missing, c.becomes, c.other)):
        alike = list(group)
        many = len(alike) >= _FEWEST_ALIKE
        for one in alike[:1] if many else alike:
            name = f"{one.name} … {alike[-1].name} ({len(alike)})" if many else one.name
            yield (
                Cell(name, "strong"),
                Cell(one.kind),
                Cell("" if one.levels is None else count(one.levels)),
                Cell(count(one.missing), "warn") if one.missing else Cell(""),
                Cell(one.becomes, "" if one.inputs else "dim"),
                Cell(f"{100 * one.other:.1f} %", "warn") if one.other else Cell(""),
            )


def files_grid(files: Sequence[CheckpointEntry]) -> Grid:
    """The checkpoints by epoch."""
    titles = (Column("epoch", right=True), Column("checkpoint", elastic=40), Column("in the file"), Column("audited"))
    rows = tuple(
        (Cell(str(one.epoch)), Cell(one.file, "strong"), Cell(one.told), Cell("" if one.audited else "no", "dim"))
        for one in files
    )
    return drop_blank_columns(Grid("checkpoint", "Checkpoints", titles, rows[:MOST_LINES], _cut(len(rows))))


def class_fact(names: Sequence[str]) -> tuple[tuple[str, str], ...]:
    """The names of the classes in the order of their codes."""
    if not names:
        return ()
    more = f" and {len(names) - _MOST_NAMES} more" if len(names) > _MOST_NAMES else ""
    return (("classes", f"{len(names)}: {', '.join(names[:_MOST_NAMES])}{more}"),)


def frozen_fact(frozen: Sequence[FrozenEntry]) -> tuple[tuple[str, str], ...]:
    """What is not trained."""
    if not frozen:
        return ()
    names = ", ".join(one.name for one in frozen[:_MOST_NAMES])
    more = f" and {len(frozen) - _MOST_NAMES} more" if len(frozen) > _MOST_NAMES else ""
    total = plural(sum(one.parameters for one in frozen), "parameter")
    return (("frozen", f"{total}, never read: {names}{more}"),)


def _cut(lines: int) -> str:
    return f"… and {lines - MOST_LINES} more lines: --format json" if lines > MOST_LINES else ""
