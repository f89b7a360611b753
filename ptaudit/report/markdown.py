"""Markdown: `report.md` of a run folder, and what is pasted into a pull request."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ptaudit.escape import markdown, markdown_line
from ptaudit.report import PAGE, Page
from ptaudit.report.check import check_page
from ptaudit.report.comparison import comparison_page
from ptaudit.report.document import Cell, Document, Facts, Grid, Lines, Marks
from ptaudit.report.full import full_report
from ptaudit.report.pages import gates_page
from ptaudit.report.selftest import selftest_page
from ptaudit.report.words import shades, sparkline

if TYPE_CHECKING:
    from ptaudit.compare import Comparison
    from ptaudit.report.check import CheckFacts
    from ptaudit.report.selftest import CaseFacts
    from ptaudit.tables.run import Run


def render(run: Run, page: Page = PAGE) -> str:
    """The full tables of a run."""
    return draw(full_report(run, page.folder))


def render_gates(run: Run, page: Page = PAGE) -> str:
    """The gates of a run."""
    return draw(gates_page(run, page))


def render_comparison(comparison: Comparison, page: Page = PAGE) -> str:
    """What changed between two runs."""
    return draw(comparison_page(comparison, page))


def render_check(report: CheckFacts, page: Page = PAGE) -> str:
    """What an audit would do."""
    return draw(check_page(report))


def render_selftest(results: Sequence[CaseFacts], page: Page = PAGE) -> str:
    """Known answers beside those found."""
    return draw(selftest_page(results))


def draw(document: Document) -> str:
    """Any document as GitHub-flavoured Markdown."""
    parts = [f"# {markdown(document.title)}"]
    for block in document.filled:
        if isinstance(block, Facts):
            parts.append("\n".join(f"- **{name}**: {markdown(text)}" for name, text in block.pairs))
            continue
        if block.title:
            parts.append(f"## {markdown(block.title)}")
        parts += [_lines(block)] if isinstance(block, Lines) else _grid(block)
    return "\n\n".join(parts) + "\n"


def _lines(block: Lines) -> str:
    bullet, gap = ("- ", "\n") if block.bullets else ("", "\n\n")
    return gap.join(bullet + _line(line, strong=bool(line.tone) and not block.bullets) for line in block.lines)


def _line(line: Cell, *, strong: bool) -> str:
    if strong:
        return f"**{markdown(line.text)}**"
    rest = line.text.removeprefix(line.link)
    return f"[{line.link}]({line.link}){markdown(rest)}" if line.link else markdown_line(rest)


def _grid(grid: Grid) -> list[str]:
    def line(texts: list[str]) -> str:
        return f"| {' | '.join(texts)} |"

    rows = [
        line([markdown(column.title) for column in grid.columns]),
        line(["---:" if column.right else "---" for column in grid.columns]),
        *(line([_cell(cell) for cell in row]) for row in grid.rows),
    ]
    notes = [f"- {markdown_line(note.text)}" for note in grid.notes]
    return ["\n".join(rows), *([markdown_line(grid.more)] if grid.more else []), *(["\n".join(notes)] if notes else [])]


def _cell(cell: Cell | Marks) -> str:
    if isinstance(cell, Cell):
        return markdown(cell.text)
    return sparkline(cell.shares) if cell.kind == "spark" else shades(cell.shares)
