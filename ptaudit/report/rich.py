"""The terminal format: bold titles, colours where the page has them, never wider than the page if that can be had."""

from __future__ import annotations

import io

from rich.console import Console
from rich.text import Text

from ptaudit.compare import Comparison
from ptaudit.escape import terminal
from ptaudit.report import PAGE, Page, Subject
from ptaudit.report.comparison import comparison_page
from ptaudit.report.document import (
    GAP,
    Cell,
    Document,
    Facts,
    Grid,
    Lines,
    Marks,
    Section,
    fit_to_width,
    label_width,
    natural_widths,
    wrapped,
)
from ptaudit.report.format import DocumentFormat
from ptaudit.report.words import shade_width, shades, sparkline, tenth, thin, to_ascii

_STYLES = {"": "", "strong": "bold", "good": "bold green", "warn": "yellow", "bad": "bold red", "dim": "dim"}
_HEAT_STOPS = ((38, 34, 82), (104, 52, 140), (180, 54, 121), (236, 104, 64), (252, 206, 70))


class Rich(DocumentFormat):
    """Text with or without terminal colours."""

    def document(self, subject: Subject, page: Page) -> Document:
        """What changed between two runs, on one screen, is cut to it."""
        if isinstance(subject, Comparison):
            return comparison_page(subject, page, most=max(10, page.height - 14))
        return super().document(subject, page)

    def draw(self, document: Document, page: Page = PAGE) -> str:
        """Any document, wrapped to the width of the page."""
        return _draw(document, page)


def _draw(document: Document, page: Page) -> str:
    stream = io.StringIO()
    console = Console(
        file=stream,
        width=page.width,
        force_terminal=page.color,
        color_system="256" if page.color else None,
        no_color=not page.color,
        highlight=False,
        legacy_windows=False,
        _environ={},
    )
    shown = document.with_texts(terminal)
    _line(console, Text(shown.title, "bold cyan" if page.color else ""))
    for number, block in enumerate(shown.filled):
        if number:
            console.print()
        for part in _parts(block, page):
            _line(console, part)
    lines = [line.rstrip() for line in stream.getvalue().splitlines()]
    text = "\n".join(lines) + "\n"
    return text if page.unicode else to_ascii(text)


def _line(console: Console, part: Text) -> None:
    console.print(part, soft_wrap=True)


def _parts(block: Section, page: Page) -> list[Text]:
    if isinstance(block, Facts):
        return _facts(block, page)
    title = [Text(line, "bold") for line in wrapped(block.title, page.width)] if block.title else []
    return title + (_lines(block, page) if isinstance(block, Lines) else _grid(block, page))


def _facts(block: Facts, page: Page) -> list[Text]:
    left = label_width(block) + GAP
    parts: list[Text] = []
    for name, text in block.pairs:
        for number, line in enumerate(wrapped(text, page.width - left)):
            parts.append(Text.assemble((f"{name if number == 0 else '':<{left}}", "dim"), line))
    return parts


def _lines(block: Lines, page: Page) -> list[Text]:
    bullet = "- " if block.bullets else ""
    return [
        Text(text, _STYLES[line.tone])
        for line in block.lines
        for text in wrapped(bullet + line.text, page.width, " " * len(bullet))
    ]


def _grid(block: Grid, page: Page) -> list[Text]:
    grid = fit_to_width(block, page.width)
    widths = natural_widths(grid)
    more = [Text(line, "dim") for line in wrapped(grid.more, page.width)] if grid.more else []
    notes = [Text(text, _STYLES[n.tone]) for n in grid.notes for text in wrapped(n.text, page.width, "  ")]
    if sum(widths) + GAP * (len(widths) - 1) > page.width:
        return [*(line for row in block.rows for line in _stacked(block, row, page)), *more, *notes]
    rights = [column.right for column in grid.columns]
    head = _row([Text(column.title, "dim") for column in grid.columns], widths, rights)
    rows = [_row([_cell(cell, page) for cell in row], widths, rights) for row in grid.rows]
    return [head, *rows, *more, *notes]


def _stacked(grid: Grid, row: tuple[Cell | Marks, ...], page: Page) -> list[Text]:
    """A row of a table that is too wide, as `title value` pairs on as many lines as it takes."""
    said = [(column.title, _cell(cell, page).plain.strip()) for column, cell in zip(grid.columns, row, strict=True)]
    text = "  ".join(f"{title} {value}".replace(" ", "\u00a0") for title, value in said if value)
    return [Text(line) for line in wrapped(text, page.width, "  ")]


def _row(cells: list[Text], widths: list[int], rights: list[bool]) -> Text:
    for cell, width, right in zip(cells, widths, rights, strict=True):
        cell.align("right" if right else "left", max(width, cell.cell_len))
    return Text(" " * GAP).join(cells)


def _cell(cell: Cell | Marks, page: Page) -> Text:
    if isinstance(cell, Cell):
        return Text(cell.text, _STYLES[cell.tone])
    if cell.kind == "spark":
        return Text(sparkline(cell.shares, unicode=page.unicode), "cyan")
    if not page.color:
        return Text(shades(cell.shares))
    width = shade_width(cell.shares)
    return Text.assemble(*((tenth(part).ljust(width), _heat_style(part)) for part in thin(cell.shares)))


def _heat_style(part: float | None) -> str:
    if part is None:
        return "dim"
    return f"{'white' if part < 0.5 else 'black'} on {_heat_color(part)}"


def _heat_color(part: float) -> str:
    """A colour between the stops of a dark-to-bright ramp, so that light alone tells the level."""
    place = part * (len(_HEAT_STOPS) - 1)
    below = min(int(place), len(_HEAT_STOPS) - 2)
    mixed = (
        round(a + (b - a) * (place - below)) for a, b in zip(_HEAT_STOPS[below], _HEAT_STOPS[below + 1], strict=True)
    )
    return f"rgb({','.join(map(str, mixed))})"
