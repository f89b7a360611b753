"""`leakage.csv` read in columns, and checked: who reads it decides on it."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any, get_type_hints

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pyarrow import csv as columnar

from ptaudit.errors import RunFolderError
from ptaudit.escape import from_csv
from ptaudit.tables.checks import first_problem
from ptaudit.tables.columns import Column, Words
from ptaudit.tables.formats import check_header, csv_lines, parse, read_csv
from ptaudit.tables.row import COLUMNS, Row
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
        table = Table.of(list(_read_rows(path)))
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


def _read_rows(path: Path) -> Iterator[Row]:
    """The rows one by one: slow, obvious, and able to say what is wrong in which line."""
    for where, cells in read_csv(path, COLUMNS):
        yield Row(**{name: parse(kind, cells[name], name, where) for name, kind in _KINDS.items()})


def _line(path: Path, place: int) -> int:
    """Line of the file on which a row ends."""
    line, _ = next(islice(csv_lines(path), place + 1, None))
    return line
