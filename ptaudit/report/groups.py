"""The worst group of records beside all of them, in one line."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ptaudit.report.document import Cell, Lines
from ptaudit.report.words import bounds_text, interval_text, plural
from ptaudit.tables.groups import last_groups, of_all_records, worst_group

if TYPE_CHECKING:
    from ptaudit.tables.run import GroupEntry, Run

_METRIC = "auc"


def group_lines(run: Run) -> Lines:
    """The group of the highest lower bound at the last epoch, with its interval, and the average; nothing without."""
    every = last_groups(run, _METRIC)
    if not every:
        return Lines("group", "", ())
    entry = worst_group(run, _METRIC)
    if entry is None:
        return Lines("group", "", (Cell(f"Worst group: not known; {every[0].status}", "warn"),))
    average = of_all_records(run, entry)
    beside = f"; all records {interval_text(average)}" if average is not None else ""
    numbers = bounds_text(entry.value, entry.lo, entry.hi, 3)
    text = f"Worst of {_called(entry, every)}, {entry.game}.{_METRIC} {numbers}{beside}"
    return Lines("group", "", (Cell(text),))


def _called(entry: GroupEntry, every: Sequence[GroupEntry]) -> str:
    """How many groups the interval allows for, and what this one is called."""
    if entry.grouping == "user":
        return f"{plural(entry.groups, 'user')}: {entry.group}"
    compared = plural(sum(one.measured for one in every if one.grouping == entry.grouping), "group")
    small = f"{entry.groups} small ones of"
    return f"{compared}: {f'{entry.grouping} {entry.group}' if entry.group else f'{small} {entry.grouping}'}"
