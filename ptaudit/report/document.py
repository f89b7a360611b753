"""A page without a format: facts, paragraphs and tables of toned cells. Formats draw it, pages build it."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal, TypeVar

from ptaudit.report.words import number, percent, shade_width, share, shorten, thin
from ptaudit.tables.row import Row
from ptaudit.tables.status import first_word

Tone = Literal["", "strong", "good", "warn", "bad", "dim"]


@dataclass(frozen=True, slots=True)
class Cell:
    """A piece of text.

    Attributes:
        text: what it says.
        tone: what it means; a format may colour it.
        link: a file beside the report, by whose name the text begins; a format may link it.
    """

    text: str
    tone: Tone = ""
    link: str = ""


@dataclass(frozen=True)
class Marks:
    """A series over epochs, scaled to its ceiling: drawn as a sparkline or as a strip of a heat map."""

    shares: tuple[float | None, ...]
    kind: Literal["spark", "heat"] = "spark"


@dataclass(frozen=True)
class Column:
    """A column of a grid.

    Attributes:
        title: its heading.
        right: whether numbers are lined up on the right.
        minor: left out on a narrow page, the highest first; 0 never.
        elastic: width that its texts may be shortened to on a narrow page, in their middle; 0: never.
    """

    title: str
    right: bool = False
    minor: int = 0
    elastic: int = 0


@dataclass(frozen=True)
class Facts:
    """Named facts, one a line."""

    name: str
    pairs: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Lines:
    """Sentences, each its own paragraph or list item; `name` is the word a plain line starts with."""

    name: str
    title: str
    lines: tuple[Cell, ...]
    bullets: bool = False


@dataclass(frozen=True)
class Grid:
    """A table; `more` says what was cut, `notes` follow it."""

    name: str
    title: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[Cell | Marks, ...], ...]
    more: str = ""
    notes: tuple[Cell, ...] = ()


Section = Facts | Lines | Grid


T = TypeVar("T")
Drawn = tuple[Column, Callable[[T], Cell | Marks]]
"""A column, and what stands in it of a line."""


def grid_of(name: str, title: str, columns: Iterable[Drawn[T]], lines: Iterable[T], more: str = "") -> Grid:
    """A table of things, each of which is drawn column by column."""
    heads, cells = zip(*columns)
    return Grid(name, title, heads, tuple(tuple(cell(line) for cell in cells) for line in lines), more)


@dataclass(frozen=True)
class Document:
    """A titled sequence of blocks; empty blocks are not drawn."""

    title: str
    blocks: tuple[Section, ...]

    @property
    def filled(self) -> tuple[Section, ...]:
        """The blocks that say something."""
        return tuple(block for block in self.blocks if not is_empty(block))

    def with_texts(self, change: Callable[[str], str]) -> Document:
        """The document with every text changed, before anything is measured or cut."""
        return Document(change(self.title), tuple(_with_texts(block, change) for block in self.blocks))


def _with_texts(block: Section, change: Callable[[str], str]) -> Section:
    def changed(cells: tuple[Cell | Marks, ...]) -> tuple[Cell | Marks, ...]:
        return tuple(replace(cell, text=change(cell.text)) if isinstance(cell, Cell) else cell for cell in cells)

    def lines(cells: tuple[Cell, ...]) -> tuple[Cell, ...]:
        return tuple(replace(cell, text=change(cell.text)) for cell in cells)

    if isinstance(block, Facts):
        return replace(block, pairs=tuple((change(name), change(text)) for name, text in block.pairs))
    if isinstance(block, Lines):
        return replace(block, title=change(block.title), lines=lines(block.lines))
    return replace(
        block,
        title=change(block.title),
        columns=tuple(replace(column, title=change(column.title)) for column in block.columns),
        rows=tuple(map(changed, block.rows)),
        more=change(block.more),
        notes=lines(block.notes),
    )


def is_empty(block: Section) -> bool:
    """Whether a block has nothing to say."""
    if isinstance(block, Facts):
        return not block.pairs
    return not (block.lines if isinstance(block, Lines) else block.rows)


def drop_blank_columns(grid: Grid) -> Grid:
    """The grid without columns in which every cell is empty."""
    kept = [index for index in range(len(grid.columns)) if any(_length(row[index]) for row in grid.rows)]
    return _keep(grid, kept)


_GLUED = re.compile(r"(?<=\d) (?=%|\[)|(?<=\d,) (?=-?[\d.]+\])|(?<=<=) (?=-?\d)")
"""Blanks inside a number: before its unit or interval, and in that."""


def wrapped(text: str, width: int, indent: str = "") -> list[str]:
    """The text in lines that break at blanks only, and not inside a number; `indent` opens all but the first."""
    lines = textwrap.wrap(
        _GLUED.sub("\u00a0", text),
        max(width, 20),
        subsequent_indent=indent,
        break_long_words=False,
        break_on_hyphens=False,
    )
    return [line.replace("\u00a0", " ") for line in lines] or [""]


def lines_needed(block: Section, width: int) -> int:
    """Lines that a block takes on a terminal, the blank line before it included."""
    if is_empty(block):
        return 0
    if isinstance(block, Facts):
        return 1 + sum(len(wrapped(text, width - label_width(block) - GAP)) for _, text in block.pairs)
    head = 1 + (len(wrapped(block.title, width)) if block.title else 0)
    if isinstance(block, Lines):
        return head + sum(len(wrapped(line.text, width - 2)) for line in block.lines)
    return head + 1 + len(block.rows) + bool(block.more) + sum(len(wrapped(n.text, width - 2)) for n in block.notes)


def label_width(block: Facts) -> int:
    """Width of the longest name."""
    return max(len(name) for name, _ in block.pairs)


GAP = 2
_NARROWEST = 12


def fit_to_width(grid: Grid, width: int) -> Grid:
    """The grid made to fit: elastic columns shortened, else minor columns left out; numbers are never touched."""
    while True:
        widths = natural_widths(grid)
        excess = sum(widths) + GAP * (len(widths) - 1) - width
        minor = [column.minor for column in grid.columns]
        slack = _slack(grid.columns, widths, last_resort=not any(minor))
        if excess <= 0 or sum(slack) >= excess or not any(minor):
            return _squeeze(grid, widths, slack, max(excess, 0))
        grid = _keep(grid, [index for index in range(len(minor)) if index != minor.index(max(minor))])


def _slack(columns: Sequence[Column], widths: Sequence[int], *, last_resort: bool) -> list[int]:
    """How much narrower each column could be."""
    return [
        max(0, have - max(min(column.elastic, _NARROWEST) if last_resort else column.elastic, len(column.title)))
        if column.elastic
        else 0
        for column, have in zip(columns, widths, strict=True)
    ]


def natural_widths(grid: Grid) -> list[int]:
    """Width of each column as it is."""
    return [
        max([len(column.title), *(_length(row[index]) for row in grid.rows)])
        for index, column in enumerate(grid.columns)
    ]


def _length(cell: Cell | Marks) -> int:
    if isinstance(cell, Cell):
        return len(cell.text)
    return len(thin(cell.shares)) * (shade_width(cell.shares) if cell.kind == "heat" else 1)


def _keep(grid: Grid, indices: Sequence[int]) -> Grid:
    return replace(
        grid,
        columns=tuple(grid.columns[index] for index in indices),
        rows=tuple(tuple(row[index] for index in indices) for row in grid.rows),
    )


def _squeeze(grid: Grid, widths: list[int], slack: list[int], excess: int) -> Grid:
    """Take `excess` from the elastic columns, the widest slack first."""
    target = list(widths)
    for index in sorted(range(len(slack)), key=lambda index: -slack[index]):
        cut = min(slack[index], excess)
        target[index] -= cut
        excess -= cut

    def shortened(row: tuple[Cell | Marks, ...]) -> tuple[Cell | Marks, ...]:
        return tuple(
            replace(cell, text=shorten(cell.text, room)) if isinstance(cell, Cell) and have > room else cell
            for cell, have, room in zip(row, widths, target, strict=True)
        )

    return replace(grid, rows=tuple(shortened(row) for row in grid.rows))


def share_cell(row: Row | None, *, with_ceiling: bool = False) -> Cell:
    """The share of the ceiling; red and yellow say much and some, and nothing is ever green."""
    part = share(row)
    if row is None or part is None:
        return Cell("-", "dim")
    tone: Tone = "bad" if part >= 0.5 else "warn" if part >= 0.1 else ""
    text = f"{percent(part)} of {number(row.ceiling)}" if with_ceiling else percent(part)
    return Cell(text, tone)


NOISE_NOTE = "noise_half: the noise, in clips or median gradient norms, that hides half; larger leaks more"


def noise_cell(row: Row | None) -> Cell:
    """The noise that hides half of what a row gives away; blank where that was not measured."""
    return Cell("" if row is None else f"{row.value:.2g}")


def status_cell(row: Row) -> Cell:
    """The status in its tone."""
    return Cell(first_word(row.status), "dim" if row.status == "ok" else "warn")
