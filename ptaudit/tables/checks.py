"""What must be true of every row of a table: who reads it decides on it."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np

from ptaudit.stats.estimate import NOT_COMPARABLE
from ptaudit.tables.columns import Mask, keys
from ptaudit.tables.row import KEY_COLUMNS, Row
from ptaudit.tables.status import BY_WEIGHT
from ptaudit.tables.table import Table

WITH_REASON = ("inconclusive", "not captured", NOT_COMPARABLE)

_ORDER = ("lo", "value", "hi", "ceiling")
_ROUNDING = 1e-9
"""Relative gap that the digits of a table may leave."""


def first_problem(table: Table) -> tuple[int, str, str | None] | None:
    """The first row that stands twice or cannot be: its place, what is wrong, what to do; None if there is none."""
    wrong, again = impossible(table), repeated(table)
    if not (wrong | again).any():
        return None
    place = int(np.argmax(wrong | again))
    if again[place]:
        return place, f"row stands twice: {', '.join(map(str, table[place].key))}", None
    return place, f"this row cannot be: {problem(table[place])}", "write or fetch the run again"


def repeated(table: Table) -> Mask:
    """Which rows have stood before."""
    (key,) = keys(KEY_COLUMNS, table)
    again = np.zeros(len(table), dtype=np.bool_)
    ordered = np.sort(key)
    if (ordered[1:] == ordered[:-1]).any():
        again[:] = True
        again[np.unique(key, return_index=True)[1]] = False
    return again


def impossible(table: Table) -> Mask:
    """Which rows have a `problem`."""
    wrong = np.zeros(len(table), dtype=np.bool_)
    for one, two in pairwise(map(table.number, _ORDER)):
        with np.errstate(invalid="ignore"):
            wrong |= one > two + _ROUNDING * np.maximum(1.0, np.abs(two))  # false where one of them is NaN
    return (wrong & table.measured) | (table.number("n") < 0) | ~table.text("status").where(known)


def problem(row: Row) -> str:
    """What cannot be true of a row; empty if nothing."""
    if row.n < 0:
        return f"n is {row.n}"
    if not known(row.status):
        return f"unknown status {row.status!r}"
    if not row.measured:
        return ""
    for (low, one), (high, two) in pairwise((name, getattr(row, name)) for name in _ORDER):
        if not math.isnan(two) and one > two + _ROUNDING * max(1.0, abs(two)):
            return f"{low} {one:g} is above {high} {two:g}"
    return ""


def known(status: str) -> bool:
    """Whether there is such a status."""
    return status in BY_WEIGHT or status.startswith(tuple(f"{word}: " for word in WITH_REASON))
