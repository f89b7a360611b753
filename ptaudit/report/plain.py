"""Plain lines for logs and grep: each line opens with the word of its block; no colour, no box, nothing shortened.

`grep '^gate'` finds the verdicts, `grep '^joint'` the rows of all layers jointly. Headings open with `#`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from ptaudit.escape import terminal
from ptaudit.report import PAGE, Page
from ptaudit.report.check import check_page
from ptaudit.report.comparison import comparison_page
from ptaudit.report.document import Cell, Document, Facts, Grid, Lines, Marks, natural_widths
from ptaudit.report.pages import gates_page, summary_page
from ptaudit.report.selftest import selftest_page
from ptaudit.report.words import shades, sparkline, to_ascii

if TYPE_CHECKING:
    from ptaudit.compare import Comparison
    from ptaudit.report.check import CheckFacts
    from ptaudit.report.selftest import CaseFacts
    from ptaudit.tables.run import Run


def render(run: Run, page: Page = PAGE) -> str:
    """The summary of a run."""
    return draw(summary_page(run, page), page)


def render_gates(run: Run, page: Page = PAGE) -> str:
    """The gates of a run."""
    return draw(gates_page(run, page), page)


def render_comparison(comparison: Comparison, page: Page = PAGE) -> str:
    """What changed between two runs."""
    return draw(comparison_page(comparison, page), page)


def render_check(report: CheckFacts, page: Page = PAGE) -> str:
    """What an audit would do."""
    return draw(check_page(report), page)


def render_selftest(results: Sequence[CaseFacts], page: Page = PAGE) -> str:
    """Known answers beside those found."""
    return draw(selftest_page(results), page)


def draw(document: Document, page: Page = PAGE) -> str:
    """Any document as plain lines."""
    shown = document.with_texts(terminal)
    lines = [f"# {shown.title}"]
    for block in shown.filled:
        if isinstance(block, Facts):
            lines += [f"{name}  {text}" for name, text in block.pairs]
        elif isinstance(block, Lines):
            lines += [f"{block.name}  {line.text}" for line in block.lines]
        else:
            lines += _grid(block, page)
    text = "\n".join(line.rstrip() for line in lines) + "\n"
    return text if page.unicode else to_ascii(text)


def _grid(grid: Grid, page: Page) -> Iterator[str]:
    widths = natural_widths(grid)

    def line(texts: list[str]) -> str:
        aligned = (
            f"{text:>{width}}" if column.right else f"{text:<{width}}"
            for text, column, width in zip(texts, grid.columns, widths, strict=True)
        )
        return "  ".join(aligned)

    if grid.title:
        yield f"# {grid.title}"
    yield f"# {line([column.title for column in grid.columns])}"
    for row in grid.rows:
        yield f"{grid.name}  {line([_text(cell, page) for cell in row])}"
    if grid.more:
        yield f"# {grid.more}"
    for note in grid.notes:
        yield f"note  {note.text}"


def _text(cell: Cell | Marks, page: Page) -> str:
    if isinstance(cell, Cell):
        return cell.text
    draw_marks = sparkline if cell.kind == "spark" else shades
    return draw_marks(cell.shares, unicode=page.unicode)
