"""What `ptaudit check` says of data and checkpoints: columns of a table, class names, files by epoch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Protocol

from ptaudit.report.document import Cell, Column, Grid, drop_blank_columns
from ptaudit.report.words import count, plural

MOST_LINES = 40
"""Longer lists are cut; JSON has all of them."""

_FEWEST_ALIKE = 4
_MOST_NAMES = 12


class ColumnFacts(Protocol):
    """A column of a table: see `ptaudit.auditing.columns.ColumnEntry`."""

    @property
    def name(self) -> str: ...  # noqa: D102
    @property
    def kind(self) -> str: ...  # noqa: D102
    @property
    def levels(self) -> int | None: ...  # noqa: D102
    @property
    def missing(self) -> int | None: ...  # noqa: D102
    @property
    def becomes(self) -> str: ...  # noqa: D102
    @property
    def inputs(self) -> int: ...  # noqa: D102
    @property
    def other(self) -> float | None: ...  # noqa: D102


class FileFacts(Protocol):
    """A checkpoint: its file, its epoch, and what stands in it."""

    @property
    def epoch(self) -> int: ...  # noqa: D102
    @property
    def file(self) -> str: ...  # noqa: D102
    @property
    def told(self) -> str: ...  # noqa: D102
    @property
    def audited(self) -> bool: ...  # noqa: D102


class FrozenFacts(Protocol):
    """What of a model is not trained."""

    @property
    def name(self) -> str: ...  # noqa: D102
    @property
    def parameters(self) -> int: ...  # noqa: D102


def columns_grid(columns: Sequence[ColumnFacts]) -> Grid:
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


def _lines(columns: Sequence[ColumnFacts]) -> Iterator[tuple[Cell, ...]]:
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


def files_grid(files: Sequence[FileFacts]) -> Grid:
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


def frozen_fact(frozen: Sequence[FrozenFacts]) -> tuple[tuple[str, str], ...]:
    """What is not trained."""
    if not frozen:
        return ()
    names = ", ".join(one.name for one in frozen[:_MOST_NAMES])
    more = f" and {len(frozen) - _MOST_NAMES} more" if len(frozen) > _MOST_NAMES else ""
    total = plural(sum(one.parameters for one in frozen), "parameter")
    return (("frozen", f"{total}, never read: {names}{more}"),)


def _cut(lines: int) -> str:
    return f"… and {lines - MOST_LINES} more lines: --format json" if lines > MOST_LINES else ""
