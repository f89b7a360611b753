"""`leakage.csv` read in columns, and checked: who reads it decides on it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from itertools import islice, pairwise
from pathlib import Path
from typing import Any, get_type_hints

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pyarrow import csv as columnar

from ptaudit.errors import RunFolderError
from ptaudit.escape import from_csv
from ptaudit.tables.columns import Column, Mask, Words, keys
from ptaudit.tables.formats import check_header, csv_lines, read_records
from ptaudit.tables.row import COLUMNS, KEY_COLUMNS, Row
from ptaudit.tables.status import is_known
from ptaudit.tables.table import Table

_KINDS = {name: kind for name, kind in get_type_hints(Row).items() if name in COLUMNS}
_TYPES = {int: pa.int64(), float: pa.float64(), str: pa.dictionary(pa.int32(), pa.string())}
_LEAST = {int: np.int16, float: np.float64, str: np.int16}
"""What a column is before it is seen how large its numbers are."""
_SHORT = 40
"""Bytes of a short row: more rows than the file has at 40 each are rare."""
_BLOCK = 1 << 20
"""Bytes of the file that are taken apart at a time."""


def read_leakage(path: Path) -> Table:
    """Reads a leakage table, without draws.

    Raises:
        RunFolderError: for a malformed file, a missing column, a row that stands twice or cannot be true.
    """
    check_header(path, COLUMNS)
    try:
        table = Table(_read_columns(path))
    except pa.ArrowInvalid:  # what is wrong, and where, the slow reader can say
        table = Table.of([row for _, row in read_records(Row, path, COLUMNS)])
    if found := first_problem(table):
        place, what, remedy = found
        raise RunFolderError(what, where=f"{path}:{_line(path, place)}", remedy=remedy)
    return table


def _read_columns(path: Path) -> dict[str, Column]:
    """The columns as small as they can be.

    Raises:
        ArrowInvalid: anything is not as ptaudit writes it.
    """
    convert = columnar.ConvertOptions(
        column_types={name: _TYPES[kind] for name, kind in _KINDS.items()},
        include_columns=list(COLUMNS),
        null_values=[""],
        strings_can_be_null=False,
    )
    room = path.stat().st_size // _SHORT  # what is not filled takes no memory
    columns: dict[str, NDArray[Any]] = {name: np.empty(room, dtype=_LEAST[kind]) for name, kind in _KINDS.items()}
    known: dict[str, dict[str, int]] = {name: {} for name, kind in _KINDS.items() if kind is str}
    rows = 0
    with columnar.open_csv(
        path,
        read_options=columnar.ReadOptions(block_size=_BLOCK),
        parse_options=columnar.ParseOptions(newlines_in_values=True, ignore_empty_lines=False),
        convert_options=convert,
    ) as batches:
        for batch in batches:
            for name, cells in zip(COLUMNS, batch.columns):
                part = _codes(cells, known[name]) if name in known else _numbers(cells)
                columns[name] = _appended(columns[name], rows, part)
            rows += len(batch)
    pa.default_memory_pool().release_unused()
    whole = {name: column[:rows] for name, column in columns.items()}
    return {name: Words(part, tuple(known[name])) if name in known else part for name, part in whole.items()}


def _appended(column: NDArray[Any], rows: int, part: NDArray[Any]) -> NDArray[Any]:
    """The column with a part after so many rows, moved where it is too short or too narrow: a list of parts would hold
    on to twice the memory."""
    kind, end = np.promote_types(column.dtype, part.dtype), rows + len(part)
    if kind != column.dtype or end > len(column):
        column, before = np.empty(max(2 * len(column), end), dtype=kind), column
        column[:rows] = before[:rows]
    column[rows:end] = part
    return column


def _codes(part: pa.DictionaryArray, known: dict[str, int]) -> NDArray[Any]:
    codes = [known.setdefault(from_csv(text), len(known)) for text in part.dictionary.to_pylist()]
    return _small(np.array(codes, dtype=np.int64)[part.indices.to_numpy()])


def _numbers(part: pa.Array) -> NDArray[Any]:
    """Numbers of a batch; an empty cell is NaN."""
    if pa.types.is_floating(part.type):
        return np.asarray(part.to_numpy(zero_copy_only=False))
    if part.null_count:
        raise pa.ArrowInvalid("an empty cell where a whole number belongs")
    return _small(part.to_numpy())


def _small(numbers: NDArray[np.int64]) -> NDArray[Any]:
    """The same numbers in the fewest bytes that hold them all."""
    largest = max(abs(int(numbers.min(initial=0))), abs(int(numbers.max(initial=0))))
    return numbers.astype(next((kind for kind in (np.int16, np.int32) if largest <= np.iinfo(kind).max), np.int64))


def _line(path: Path, place: int) -> int:
    """Line of the file on which a row ends."""
    line, _ = next(islice(csv_lines(path), place + 1, None))
    return line


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
