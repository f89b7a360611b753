"""What must be true of every row of a table: who reads it decides on it."""

from __future__ import annotations

import math
from itertools import pairwise

from ptaudit.stats.estimate import NOT_COMPARABLE
from ptaudit.tables.row import Row
from ptaudit.tables.status import BY_WEIGHT

WITH_REASON = ("inconclusive", "not captured", NOT_COMPARABLE)

_ROUNDING = 1e-9
"""Relative gap that the digits of a table may leave."""


def problem(row: Row) -> str:
    """What cannot be true of a row; empty if nothing."""
    if row.n < 0:
        return f"n is {row.n}"
    if row.status not in BY_WEIGHT and not row.status.startswith(tuple(f"{word}: " for word in WITH_REASON)):
        return f"unknown status {row.status!r}"
    if not row.measured:
        return ""
    order = [("lo", row.lo), ("value", row.value), ("hi", row.hi), ("ceiling", row.ceiling)]
    for (low, one), (high, two) in pairwise(order):
        if not math.isnan(two) and one > two + _ROUNDING * max(1.0, abs(two)):
            return f"{low} {one:g} is above {high} {two:g}"
    return ""
