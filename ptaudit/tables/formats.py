"""CSV and JSON as they stand in a run folder: UTF-8, LF, the same bytes for the same numbers."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar, get_type_hints

from ptaudit import escape
from ptaudit.errors import RunFolderError

T = TypeVar("T")


def cell(value: object) -> str:
    """A cell of a CSV file: six significant digits, empty for NaN; of a text, what `escape.csv` makes of it."""
    if isinstance(value, float):
        return "" if math.isnan(value) else f"{value + 0.0:.6g}"
    return escape.csv(value) if isinstance(value, str) else str(value)


def csv_text(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A CSV file with a header line."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow([cell(column) for column in columns])
    writer.writerows([cell(value) for value in row] for row in rows)
    return buffer.getvalue()


def json_text(content: object) -> str:
    """JSON with sorted keys; numbers that are not finite become null."""
    text = json.dumps(finite(content), indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False)
    return escape.json(text) + "\n"


def finite(content: object) -> object:
    """Plain values of what JSON can hold: null for numbers that do not exist, which it does not know."""
    if isinstance(content, float):
        return content if math.isfinite(content) else None
    if isinstance(content, Mapping):
        return {str(key): finite(value) for key, value in content.items()}
    if isinstance(content, list | tuple):
        return [finite(value) for value in content]
    return content.item() if hasattr(content, "item") else content


def read_text(path: Path) -> str:
    """Text of a UTF-8 file.

    Raises:
        RunFolderError: if it cannot be read or is not UTF-8.
    """
    with _readable(path):
        return path.read_text(encoding="utf-8-sig")


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    try:
        yield
    except UnicodeDecodeError as error:
        raise RunFolderError("not UTF-8 text", where=str(path), remedy=_AGAIN) from error
    except OSError as error:
        raise RunFolderError(f"cannot be read: {error.strerror}", where=str(path)) from error


MOST_JSON = 100_000_000
"""Bytes; more than any run writes."""

MOST_COUNT = 2**63 - 1

_AGAIN = "write or fetch the run again"


def read_json(path: Path) -> Any:
    """Content of a JSON file.

    Raises:
        RunFolderError: if it is not JSON, with the line; too large, too deep, or with numbers that are none.
    """
    try:
        if path.stat().st_size > MOST_JSON:
            raise RunFolderError(
                f"larger than {MOST_JSON:,} bytes, as no run writes it", where=str(path), remedy=_AGAIN
            )
        return json.loads(read_text(path), parse_constant=_no_number, parse_int=_whole)
    except json.JSONDecodeError as error:
        raise RunFolderError(f"not JSON: {error.msg}", where=f"{path}:{error.lineno}", remedy=_AGAIN) from error
    except ValueError as error:
        raise RunFolderError(f"not JSON: {error}", where=str(path), remedy=_AGAIN) from error
    except RecursionError as error:
        raise RunFolderError("nested too deeply", where=str(path), remedy=_AGAIN) from error


def _no_number(text: str) -> float:
    raise ValueError(f"{text} is no number")


def _whole(text: str) -> int:
    if len(text) > 20:  # digits: what no count, seed or epoch has
        raise ValueError(f"{text[:20]}... is too large")
    return int(text)


def csv_lines(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Records of a CSV file, the header too: the line on which each ends, and its cells.

    Raises:
        RunFolderError: if it cannot be read or is not CSV, with the line.
    """
    with _readable(path), path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.reader(file, strict=True)
        try:
            for cells in reader:
                yield reader.line_num, cells
        except csv.Error as error:
            raise RunFolderError(f"not CSV: {error}", where=f"{path}:{reader.line_num}") from error


def read_csv(path: Path, columns: Sequence[str]) -> Iterator[tuple[str, dict[str, str]]]:
    """Lines of a CSV file that has at least the given columns.

    Returns:
        For each line where it stands (`file:line`) and its cells by column.

    Raises:
        RunFolderError: for a missing column or a line with too few or too many cells.
    """
    header = check_header(path, columns)
    for line, cells in islice(csv_lines(path), 1, None):
        where = f"{path}:{line}"
        if len(cells) != len(header):
            raise RunFolderError(f"{len(cells)} cells where the header has {len(header)}", where=where)
        yield where, dict(zip(header, cells))


def read_records(kind: type[T], path: Path, columns: Sequence[str]) -> Iterator[tuple[str, T]]:
    """Lines of a CSV file as dataclasses with these fields, each with its place.

    Raises:
        RunFolderError: malformed, a column missing, or a cell of another type.
    """
    hints = get_type_hints(kind)
    for where, cells in read_csv(path, columns):
        yield where, kind(**{name: parse(hints[name], cells[name], name, where) for name in columns})


def check_header(path: Path, columns: Sequence[str]) -> list[str]:
    """The columns of a CSV file, which must have the given ones, and none twice.

    Raises:
        RunFolderError: what is missing or stands twice.
    """
    _, header = next(csv_lines(path), (0, None))
    if header is None:
        raise RunFolderError("empty file", where=str(path), remedy=_AGAIN)
    twice = sorted({column for column in header if header.count(column) > 1})
    if twice:
        raise RunFolderError(f"column stands twice: {', '.join(twice)}", where=f"{path}:1")
    missing = [column for column in columns if column not in header]
    if missing:
        raise RunFolderError(
            f"column missing: {', '.join(missing)}", where=f"{path}:1", remedy=f"expected {', '.join(columns)}"
        )
    return header


def parse(kind: type, text: str, column: str, where: str) -> Any:
    """A cell as str, int or float (empty is NaN).

    Raises:
        RunFolderError: if it is not one, naming the column.
    """
    if kind is str:
        return escape.from_csv(text)
    if kind is float and not text.strip():
        return math.nan
    try:
        found = kind(text)
        if kind is int and abs(found) > MOST_COUNT:
            raise RunFolderError(f"column {column}: {text[:20]} cannot be counted", where=where, remedy=_AGAIN)
        return found
    except ValueError as error:
        noun = "a whole number" if kind is int else "a number"
        raise RunFolderError(f"column {column}: {text!r} is not {noun}", where=where) from error
