"""Which layer leaks most: one rule for the summary, the reports and `summary.json`."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
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


def noise_of(row: Row | None, noises: Mapping[LeakKey, Row]) -> Row | None:
    """The `noise_half` of the same layer, view and epoch; None where there is none."""
    return None if row is None else noises.get(_leak_key(row))


def rank(row: Row | None, noise: Row | None = None, others: Sequence[Row | None] = ()) -> tuple[float, ...]:
    """Sorts layers by how much they leak, ascending.

    The number of the game comes first, and values that reach its ceiling tie. Among equals the noise that hides half
    decides, then what the other games find, then the lower end of the interval. Who still ties stays in model order.

    Args:
        row: the layer's number in the game.
        noise: its `noise_half`.
        others: its numbers in the other games of the same view, in one order for all layers.
    """
    hidden = -1.0 if noise is None else noise.value
    return (_tied(row), hidden, *map(_tied, others), row.lo if row is not None and row.measured else -math.inf)


def _tied(row: Row | None) -> float:
    if row is None or not row.measured:
        return -math.inf
    top = AT_CEILING * row.ceiling
    return top if row.value >= top else row.value
