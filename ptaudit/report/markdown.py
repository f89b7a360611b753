"""Markdown: `report.md` of a run folder, and what is pasted into a pull request."""

from __future__ import annotations

from ptaudit.escape import markdown, markdown_line
from ptaudit.report import PAGE, Page, Subject
from ptaudit.report.document import Cell, Document, Facts, Grid, Lines, Marks
from ptaudit.report.format import DocumentFormat
from ptaudit.report.full import full_report
from ptaudit.report.words import shades, sparkline
from ptaudit.tables.run import Run


class Markdown(DocumentFormat):
    """GitHub-flavoured Markdown."""

    def document(self, subject: Subject, page: Page) -> Document:
        """Of a run the full tables."""
        if not isinstance(subject, Run):
            return super().document(subject, page)
        if page.kept is None:
            return full_report(subject, page.folder)
        from ptaudit.tables.samples import read_samples

        return full_report(subject, page.folder, read_samples(page.kept))

    def draw(self, document: Document, page: Page = PAGE) -> str:
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
