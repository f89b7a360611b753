"""Cells that several tables have."""

from __future__ import annotations

from ptaudit.report.document import Cell, Tone
from ptaudit.report.words import number, percent, share
from ptaudit.tables.row import Row
from ptaudit.tables.status import first_word


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
