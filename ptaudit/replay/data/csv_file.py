"""`csv:PATH`: a table with a label column, plain or compressed (`.csv.gz`)."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from ptaudit.errors import DataError
from ptaudit.replay.data.records import Source
from ptaudit.replay.data.table import table_source

if TYPE_CHECKING:
    from ptaudit.spec.model import DataSpec

_ALSO_MISSING = ("?",)  # beside pandas' own list; the UCI sets use it


def open_source(data: DataSpec) -> Source:
    """Read the table and take it apart as the spec says."""
    path = Path(data.source.partition(":")[2])
    return table_source(read_csv(path, "data.source", limit=data.limit), data, str(path))


def read_csv(path: Path, key: str, *, limit: int | None = None, **options: Any) -> pd.DataFrame:
    """Read a table with a header line.

    Args:
        path: the file.
        key: the key of the spec that names it, for errors.
        limit: read only so many lines.
        options: further arguments of `pandas.read_csv`.

    Raises:
        DataError: the file is missing or is not a table.
    """
    if not path.is_file():
        raise DataError("no such file", where=str(path), remedy=f"check {key}, or fetch the file to this place")
    settings: dict[str, Any] = {"na_values": _ALSO_MISSING, "skipinitialspace": True, "low_memory": False}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", pd.errors.ParserWarning)  # lines with more entries than the header
            table: Any = pd.read_csv(path, nrows=limit, index_col=False, **(settings | options))
    except Exception as error:  # of a damaged archive, unpackers raise whatever they stumble over
        raise DataError(f"not a readable table: {error}".strip(), where=str(path)) from error
    frame: pd.DataFrame = table
    return frame
