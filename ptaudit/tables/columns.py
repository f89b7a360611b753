"""Records of one kind in columns: millions of rows are a few arrays, and only a row that is looked at is an object."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Self, TypeVar, get_type_hints, overload

import numpy as np
from numpy.typing import NDArray

T = TypeVar("T")
Array = NDArray[np.float64]
Mask = NDArray[np.bool_]
Places = NDArray[np.intp]
Keys = NDArray[np.int64]

_AT_ONCE = 10_000
"""Rows that are objects at a time while all are walked through."""
_MOST = 2**62
"""Keys stay below this number."""


@dataclass(frozen=True)
class Words:
    """A column of text: `codes` (rows,) into `texts`, which hold each text once."""

    codes: NDArray[Any]
    texts: tuple[str, ...]

    @staticmethod
    def of(values: Iterable[str]) -> Words:
        """From one text a row."""
        known: dict[str, int] = {}
        codes = [known.setdefault(value, len(known)) for value in values]
        return Words(np.array(codes, dtype=np.int32), tuple(known))

    def __len__(self) -> int:
        return len(self.codes)

    def __getitem__(self, rows: Any) -> Words:
        return Words(self.codes[rows], self.texts)

    def where(self, test: Callable[[str], bool]) -> Mask:
        """The rows whose text passes; each text is asked once."""
        passed: Mask = np.array([test(text) for text in self.texts], dtype=np.bool_)[self.codes]
        return passed

    def tolist(self) -> list[str]:
        """One text a row."""
        return [self.texts[code] for code in self.codes.tolist()]

    def counts(self) -> dict[str, int]:
        """How many rows have each text, in the order of first appearance."""
        codes, first, found = np.unique(self.codes, return_index=True, return_counts=True)
        return {self.texts[codes[k]]: int(found[k]) for k in np.argsort(first)}


Column = Words | NDArray[Any]


class Remarks:
    """A column of text that is filled in as things turn up: what is said of a row first stays, and nothing is empty.

    Args:
        rows: how many.
    """

    def __init__(self, rows: int) -> None:
        self._codes = np.zeros(rows, dtype=np.int32)
        self._known = {"": 0}

    def add(self, places: Places, said: str | Words) -> None:
        """Say something of the rows at some places: one text of all, or one of each."""
        words = said if isinstance(said, Words) else Words(np.zeros(len(places), dtype=np.int32), (said,))
        codes = np.array([self._known.setdefault(text, len(self._known)) for text in words.texts], dtype=np.int32)
        free = self._codes[places] == 0
        self._codes[places[free]] = codes[words.codes[free]]

    @property
    def words(self) -> Words:
        """What was said."""
        return Words(self._codes, tuple(self._known))


class Columns(Sequence[T], Generic[T]):
    """A sequence of records that are made when they are asked for.

    Args:
        kind: the dataclass of a record.
        columns: its fields, one entry a row: `Words` for text, arrays for numbers.
    """

    def __init__(self, kind: type[T], columns: Mapping[str, Column]) -> None:
        self.kind = kind
        self.columns = columns

    def __len__(self) -> int:
        return len(next(iter(self.columns.values())))

    def __iter__(self) -> Iterator[T]:
        for start in range(0, len(self), _AT_ONCE):
            some = slice(start, start + _AT_ONCE)
            yield from map(self.kind, *(column[some].tolist() for column in self.columns.values()))

    @overload
    def __getitem__(self, place: int) -> T: ...
    @overload
    def __getitem__(self, place: slice) -> Self: ...
    def __getitem__(self, place: int | slice) -> T | Self:
        if isinstance(place, slice):
            return self.take(place)
        return next(iter(self.take(np.array([range(len(self))[place]]))))

    def text(self, name: str) -> Words:
        """A column of text."""
        column = self.columns[name]
        assert isinstance(column, Words)
        return column

    def number(self, name: str) -> NDArray[Any]:
        """A column of numbers (rows,)."""
        column = self.columns[name]
        assert not isinstance(column, Words)
        return column

    def take(self, rows: Mask | Places | slice) -> Self:
        """Some of the rows, by a mask, their places or a slice; all of them are the table itself."""
        return self if _is_all(rows, len(self)) else self._some(rows)

    def _some(self, rows: Mask | Places | slice) -> Self:
        return type(self)(self.kind, {name: column[rows] for name, column in self.columns.items()})

    def where(self, **wanted: object) -> Self:
        """The rows whose columns have the given values, e.g. `where(view="record", metric=("bits", "auc"))`."""
        return self.take(self.are(**wanted))

    def are(self, **wanted: object) -> Mask:
        """Which rows have the given values: one, or any of several."""
        mask = np.ones(len(self), dtype=np.bool_)
        for name, value in wanted.items():
            values = value if isinstance(value, Collection) and not isinstance(value, str) else (value,)
            column = self.columns[name]
            mask &= column.where(values.__contains__) if isinstance(column, Words) else np.isin(column, list(values))
        return mask

    def ask(self, test: Callable[[T], bool], *names: str) -> Mask:
        """What a test says of each row, asked once of all that agree in the columns that it looks at."""
        first, group = first_of(keys(names, self)[0])
        return np.array([test(record) for record in self.take(first)], dtype=np.bool_)[group]

    def last_of_each(self, name: str) -> Self:
        """The last row of each text in a column, in the order of its first appearance."""
        first, group = first_of(self.text(name).codes)
        last = np.empty_like(first)
        last[group] = np.arange(len(group))
        return self.take(last)

    def distinct(self, *names: str) -> list[tuple[Any, ...]]:
        """What stands together in some columns, in the order of first appearance."""
        first = np.sort(np.unique(keys(names, self)[0], return_index=True)[1])
        return list(zip(*(self.columns[name][first].tolist() for name in names)))


def columns_of(kind: type, names: Sequence[str], records: Sequence[Any]) -> dict[str, Column]:
    """The columns of records: text as `Words`, whole numbers as int64, others as float64."""
    hints = get_type_hints(kind)
    types = {int: np.int64, float: np.float64}
    values = {name: [getattr(record, name) for record in records] for name in names}
    return {
        name: np.array(column, dtype=types[hints[name]]) if hints[name] in types else Words.of(column)
        for name, column in values.items()
    }


def stacked(names: Sequence[str], *tables: Columns[Any]) -> dict[str, Column]:
    """Columns of several tables one under the other."""
    filled = [table for table in tables if len(table)] or tables[:1]
    found: dict[str, Column] = {}
    for name in names:
        parts = [table.columns[name] for table in filled]
        if len(parts) == 1:
            found[name] = parts[0]
        elif isinstance(parts[0], Words):
            codes, texts = _common(parts)
            found[name] = Words(np.concatenate(codes), texts)
        else:
            found[name] = np.concatenate(parts)  # type: ignore[arg-type]
    return found


def keys(names: Sequence[str], *tables: Columns[Any]) -> list[Keys]:
    """A whole number for each row, (rows,) a table: in all tables equal where, and only where, those columns are."""
    found = [np.zeros(len(table), dtype=np.int64) for table in tables]
    size = 1
    for name in names:
        codes, count = _codes([table.columns[name] for table in tables])
        if size * count > _MOST:
            found, size = _dense(found)
        for key, code in zip(found, codes):
            key *= count
            key += code
        size *= count
    return found


def places_of(wanted: Keys, there: Keys) -> Places:
    """Where each wanted key stands among others, the last one of equals; -1 where it does not."""
    if np.array_equal(wanted, there):  # two runs of one spec
        return np.arange(len(there))
    order = np.argsort(there, kind="stable")
    place = np.searchsorted(there, wanted, side="right", sorter=order) - 1
    found = order[place] if len(order) else np.full(len(wanted), -1)
    return np.where((place >= 0) & (there[found] == wanted), found, -1) if len(order) else found


def first_of(group: Keys) -> tuple[Places, Places]:
    """Groups of equal keys in the order of first appearance: the first row of each, and the group of each row."""
    _, first, inverse = np.unique(group, return_index=True, return_inverse=True)
    order = np.argsort(first)
    rank = np.empty_like(order)
    rank[order] = np.arange(len(order))
    return first[order], rank[inverse]


def series_of(group: Places, order: NDArray[Any]) -> list[Places]:
    """The rows of each group, groups ascending, rows by what orders them."""
    sorted_rows = np.lexsort((order, group))
    return np.split(sorted_rows, np.flatnonzero(np.diff(group[sorted_rows])) + 1) if len(group) else []


def best_of(group: Places, score: Array) -> Places:
    """The row of the largest score of each group, the first of equals; groups ascending."""
    order = np.lexsort((-score, group))  # stable: of equals the first
    ordered = group[order]
    return order[np.flatnonzero(np.diff(ordered, prepend=-1))]


def _codes(columns: Sequence[Column]) -> tuple[list[NDArray[Any]], int]:
    """One column of several tables as numbers from 0, equal where the cells are, and one more than the largest."""
    if isinstance(columns[0], Words):
        codes, texts = _common(columns)
        return codes, max(len(texts), 1)
    values = np.unique(np.concatenate([np.unique(column) for column in columns]))  # type: ignore[arg-type]
    return [np.searchsorted(values, column) for column in columns], max(len(values), 1)  # type: ignore[arg-type]


def _common(columns: Sequence[Column]) -> tuple[list[NDArray[Any]], tuple[str, ...]]:
    """Columns of text as codes into the same texts."""
    known: dict[str, int] = {}
    words = [column for column in columns if isinstance(column, Words)]
    maps = [np.array([known.setdefault(t, len(known)) for t in word.texts], dtype=np.int32) for word in words]
    return [to[word.codes] for word, to in zip(words, maps)], tuple(known)


def _is_all(rows: Mask | Places | slice, size: int) -> bool:
    if isinstance(rows, slice) or len(rows) != size:
        return False
    return bool(rows.all()) if rows.dtype == np.bool_ else np.array_equal(rows, np.arange(size))


def _dense(found: list[Keys]) -> tuple[list[Keys], int]:
    """The same keys in as few numbers as there are."""
    values = np.unique(np.concatenate(found))
    return [np.searchsorted(values, key) for key in found], len(values)
