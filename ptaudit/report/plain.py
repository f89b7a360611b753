"""Plain lines for logs and grep: each line opens with the word of its block; no colour, no box, nothing shortened.

`grep '^gate'` finds the verdicts, `grep '^joint'` the rows of all layers jointly. Headings open with `#`.
"""

from __future__ import annotations

from collections.abc import Iterator

from ptaudit.escape import terminal
from ptaudit.report import PAGE, Page
from ptaudit.report.document import Cell, Document, Facts, Grid, Lines, Marks, natural_widths
from ptaudit.report.format import DocumentFormat
from ptaudit.report.words import shades, sparkline, to_ascii


class Plain(DocumentFormat):
    """Lines of text."""

    def draw(self, document: Document, page: Page = PAGE) -> str:
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
    return sparkline(cell.shares, unicode=page.unicode) if cell.kind == "spark" else shades(cell.shares)
