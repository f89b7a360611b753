"""`csv:PATH`: a table with a label column, plain or compressed (`.csv.gz`)."""

from __future__ import annotations

import itertools
import json
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from ptaudit.data.records import Source, check_names
from ptaudit.data.table import table_source
from ptaudit.errors import DataError

if TYPE_CHECKING:
    from ptaudit.spec.model import DataSpec

_PACKED = (b"\x1f\x8b", b"PK", b"BZ", b"\xfd7", b"\x28\xb5")
"""How files that pandas unpacks begin: gzip, zip, bzip2, xz, zstandard."""


def open_source(data: DataSpec) -> Source:
    """Read the table and take it apart as the spec says."""
    path = Path(data.source.partition(":")[2])
    written = {
        "na_values": ["", *data.missing],
        "encoding": data.encoding,
        "sep": data.separator,
        "decimal": data.decimal,
        "thousands": data.thousands,
    }
    return table_source(read_csv(path, "data.source", limit=data.limit, **written), data, str(path))


def read_csv(path: Path, key: str, *, limit: int | None = None, **options: Any) -> pd.DataFrame:
    """Read a table with a header line.

    Args:
        path: the file.
        key: the key of the spec that names it, for errors.
        limit: read only so many lines.
        options: further arguments of `pandas.read_csv`. Only empty cells are missing unless `na_values` has more.

    Raises:
        DataError: the file is missing or is not a table.
    """
    if not path.is_file():
        raise DataError("no such file", where=str(path), remedy=f"check {key}, or fetch the file to this place")
    settings: dict[str, Any] = {
        "na_values": [""], "keep_default_na": False, "skipinitialspace": True, "low_memory": False, **options,
    }  # fmt: skip
    try:
        _check_bytes(path, str(options.get("encoding") or "utf-8"))
        head = pd.read_csv(path, nrows=1, dtype=str, **{"header": None, **settings})
        _check_width(head, path)
        if "header" not in options:
            _check_separator(head, path)
            check_names(head.iloc[0].dropna().str.strip(), str(path))
        with warnings.catch_warnings():
            warnings.simplefilter("error", pd.errors.ParserWarning)  # lines with more entries than the header
            table: Any = pd.read_csv(path, nrows=limit, index_col=False, **settings)
    except DataError:
        raise
    except UnicodeDecodeError as error:
        raise DataError(
            f"not text in {settings.get('encoding', 'utf-8')}: {error.reason} at byte {error.start}",
            where=str(path),
            remedy="name the encoding in data.encoding, for example latin-1",
        ) from error
    except Exception as error:  # of a damaged archive, unpackers raise whatever they stumble over
        raise DataError(f"not a readable table: {error}".strip(), where=str(path)) from error
    frame: pd.DataFrame = table
    _check_cells(frame, path)
    return frame


MOST_COLUMNS = 20_000
LONGEST_CELL = 1_000_000
"""Characters; longer is no cell but a quotation mark that nobody closed."""

_SEPARATORS = (";", "\t", "|")

_BLOCK = 1 << 20


def _check_bytes(path: Path, encoding: str) -> None:
    """Refuse a zero byte, which no text of one byte a letter has; of compressed files their text is not looked at."""
    if encoding.lower().startswith(("utf-16", "utf_16", "utf16", "utf-32", "utf_32", "utf32")):
        return
    with path.open("rb") as file:
        if file.read(4)[:2] in _PACKED:
            return
        file.seek(0)
        for start in itertools.count(step=_BLOCK):
            block = file.read(_BLOCK)
            if (place := block.find(0)) >= 0:
                raise DataError(
                    f"a zero byte, which no text in {encoding} has, at byte {start + place}",
                    where=str(path),
                    remedy="name the encoding in data.encoding, for example utf-16; or the file is no table",
                )
            if not block:
                return


def _check_width(head: pd.DataFrame, path: Path) -> None:
    if len(head.columns) > MOST_COLUMNS:
        raise DataError(
            f"{len(head.columns):,} columns (at most {MOST_COLUMNS:,})",
            where=str(path),
            remedy="check data.separator; save numbers that are this wide as npz",
        )


def _check_separator(head: pd.DataFrame, path: Path) -> None:
    """Refuse a header whose names are set apart by something that is not the separator."""
    whole = ",".join(head.iloc[0].dropna())
    found = next((mark for mark in _SEPARATORS if whole.count(mark) >= len(head.columns)), None)
    if found is not None:
        raise DataError(
            f"the header is separated by {found!r}, it seems: {whole[:60]!r}",
            where=str(path),
            remedy=f"set data.separator: {json.dumps(found)}; and data.decimal where numbers have a decimal comma",
        )


def _check_cells(frame: pd.DataFrame, path: Path) -> None:
    for name in frame.select_dtypes(exclude=["number", "bool"]):
        lengths = frame[name].astype(str).str.len()
        if len(lengths) and lengths.max() > LONGEST_CELL:
            raise DataError(
                f"column {str(name)[:40]!r} has a cell of {lengths.max():,} characters in record {lengths.argmax()}",
                where=str(path),
                remedy="a quotation mark may not be closed before it",
            )
