"""What leaks most, also where everything leaks: rows that tie at their ceiling are told apart by `noise_half`.

`noise_half` of the identity game is the smallest noise (sigma, in units of the clip, or of the median gradient norm of
a record where nothing is clipped) at which the row's bits fall to half of the ceiling. The more noise it takes, the
more the row gives away. Not every run has it.
"""

from __future__ import annotations

from collections.abc import Mapping
from operator import attrgetter

from ptaudit.spec.catalog import NOISE_HALF
from ptaudit.tables.row import Row
from ptaudit.tables.table import Table

AT_CEILING = 0.99
"""Share of the ceiling from which on rows tie: what is above differs by chance."""

LeakKey = tuple[int, str, str, str, str, str]
LEAK_KEY = ("epoch", "layer", "view", "game", "knows", "trained_with")
"""What a row is about, whoever measured it."""


_leak_key = attrgetter(*LEAK_KEY)


def noise_rows(rows: Table) -> Table:
    """The measured rows of `noise_half`."""
    there = rows.where(metric=NOISE_HALF)
    return there.take(there.measured & there.adaptive)


def noise_halves(rows: Table) -> dict[LeakKey, Row]:
    """The measured rows of `noise_half` by what they are about; of several adversaries the one hardest to stop."""
    found: dict[LeakKey, Row] = {}
    for row in noise_rows(rows):
        held = found.setdefault(_leak_key(row), row)
        found[_leak_key(row)] = row if row.value > held.value else held
    return found


def rank(value: float, ceiling: float, noise: Row | None) -> tuple[float, float]:
    """Sorts rows by how much they leak, ascending: values that reach the ceiling tie, and noise decides."""
    top = AT_CEILING * ceiling
    return (top if value >= top else value, -1.0 if noise is None else noise.value)


def noise_of(row: Row | None, noises: Mapping[LeakKey, Row]) -> Row | None:
    """The `noise_half` of the same layer, view and epoch; None where there is none."""
    return None if row is None else noises.get(_leak_key(row))
