"""What must be true of every row of a table: who reads it decides on it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from itertools import pairwise

import numpy as np

from ptaudit.tables.columns import Mask, keys
from ptaudit.tables.row import KEY_COLUMNS, Row
from ptaudit.tables.status import is_known
from ptaudit.tables.table import Table

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
    for mask, _ in _rules(table):
        wrong |= mask
    return wrong


def problem(row: Row) -> str:
    """What cannot be true of a row; empty if nothing."""
    return next((words(row) for mask, words in _rules(Table.of([row])) if mask[0]), "")


def _rules(table: Table) -> Iterator[tuple[Mask, Callable[[Row], str]]]:
    """Which rows break a rule, and how to say so of one of them."""
    yield table.number("n") < 0, lambda row: f"n is {row.n}"
    yield ~table.text("status").where(is_known), lambda row: f"unknown status {row.status!r}"
    for names in pairwise(_ORDER):
        one, two = map(table.number, names)
        with np.errstate(invalid="ignore"):
            above = one > two + _ROUNDING * np.maximum(1.0, np.abs(two))  # false where one of them is NaN
        yield above & table.measured, partial(_out_of_order, names)


def _out_of_order(names: tuple[str, str], row: Row) -> str:
    low, high = names
    return f"{low} {getattr(row, low):g} is above {high} {getattr(row, high):g}"
