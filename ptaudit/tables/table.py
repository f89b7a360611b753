"""The leakage table in columns, with the resamples of its rows where they are."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np

from ptaudit.spec.catalog import NO_DEFENSE
from ptaudit.tables.columns import Array, Column, Columns, Mask, Places, best_of, columns_of, first_of, keys
from ptaudit.tables.row import (
    COLUMNS,
    Row,
    has_interval,
    is_adaptive,
    is_instrument,
    may_be_clipped,
)
from ptaudit.tables.status import is_number

AT_ONCE = 2_000
"""Rows whose draws are in memory at a time, where not all are needed at once."""


@dataclass(frozen=True)
class Draws:
    """The bootstrap draws of a table's rows, which may still lie in a file.

    Attributes:
        places: (rows,) which of the stored ones a row's are, -1 for a row without.
        size: how many a row has, 0 if they differ.
        read: stored ones by their places, (places, size).
    """

    places: Places
    size: int
    read: Callable[[Places], Array]


class Table(Columns[Row]):
    """Rows in the order of the file: epoch, view, game, layer (`*` first), adversary, metric; defenses last.

    Args:
        columns: those of `leakage.csv`.
        draws: of its rows; the rows themselves are made without.
    """

    def __init__(self, columns: Mapping[str, Column], draws: Draws | None = None) -> None:
        super().__init__(Row, columns)
        self.draws = draws

    @staticmethod
    def of(rows: Sequence[Row]) -> Table:
        """From rows, with their draws."""
        if isinstance(rows, Table):
            return rows
        stored = [row.draws for row in rows if row.draws is not None]
        sizes = {len(each) for each in stored}
        has = np.array([row.draws is not None for row in rows], dtype=np.bool_)
        places = np.where(has, np.cumsum(has) - 1, -1)
        size = sizes.pop() if len(sizes) == 1 else 0
        draws = Draws(places, size, lambda wanted: np.array([stored[place] for place in wanted], dtype=np.float64))
        return Table(columns_of(Row, COLUMNS, rows), draws if stored else None)

    def only(self, *names: str) -> Self:
        """The table with these columns alone, of which no rows can be made."""
        return type(self)({name: self.columns[name] for name in names}, self.draws)

    def _some(self, rows: Mask | Places | slice) -> Self:
        drawn = self.draws and Draws(self.draws.places[rows], self.draws.size, self.draws.read)
        return type(self)({name: column[rows] for name, column in self.columns.items()}, drawn)

    @property
    def as_trained(self) -> Self:
        """The rows about the training as the spec has it, without those of `defenses`."""
        return self.where(trained_with=NO_DEFENSE)

    @property
    def last_epoch(self) -> int:
        """The last audited epoch; 0 without rows."""
        return int(self.number("epoch").max(initial=0))

    @property
    def measured(self) -> Mask:
        """Of each row what `Row.measured` says; the next two likewise."""
        there: Mask = has_interval(*map(self.number, ("value", "lo", "hi")))
        return there & self.text("status").where(is_number)

    @property
    def adaptive(self) -> Mask:
        """Whose adversary knows what it looks at."""
        return self.text("knowledge").where(is_adaptive)

    @property
    def instrument(self) -> Mask:
        """Which are an estimator's reading."""
        return self.text("adversary").where(is_instrument)

    @property
    def draws_each(self) -> int:
        """How many draws every row has; 0 if a row has none or another number of them."""
        return self.draws.size if self.draws is not None and (self.draws.places >= 0).all() else 0

    def joint_draws(self) -> Array | None:
        """The draws of all rows, (rows, B); None if a row has none or another number of them."""
        return self.draws.read(self.draws.places) if self.draws is not None and self.draws_each else None

    def centre(self) -> Array:
        """The values (rows,) before they were clipped to [0, ceiling], as far as the draws tell."""
        value = np.array(self.number("value"), dtype=np.float64)
        if self.draws is not None:
            clipped = may_be_clipped(value, self.number("ceiling"))
            wanted = np.flatnonzero(clipped & (self.draws.places >= 0))
            for start in range(0, len(wanted), AT_ONCE):
                some = wanted[start : start + AT_ONCE]
                value[some] = [each.mean() for each in self.draws.read(self.draws.places[some])]
        return value


def strongest(table: Table, *by: str) -> Table:
    """The adversary that does best among the rows that agree in some columns: a row for each such group, in the order
    of first appearance.

    That is the one of the highest lower bound, of estimators the first; a row without a number only if there is no
    other. An adversary that does not know what it looks at says nothing about it: it is left out.
    """
    return best_adversary(table.take(table.adaptive), *by)


def best_adversary(table: Table, *by: str, score: str = "lo") -> Table:
    """As `strongest`, of whatever adversaries, by the column of their score."""
    first, group = first_of(keys(by, table)[0])
    if len(first) == len(table):
        return table
    name = table.text("adversary").codes
    lead = first[group]  # the first row of each row's group
    rivals = np.flatnonzero(~table.instrument[lead] | (name == name[lead]))
    scores = np.where(table.measured, table.number(score), -np.inf)
    return table.take(rivals[best_of(group[rivals], scores[rivals])])
