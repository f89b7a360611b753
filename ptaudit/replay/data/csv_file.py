"""`csv:PATH`: a table with a label column, plain or compressed (`.csv.gz`)."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from ptaudit.errors import DataError
from ptaudit.replay.data.records import Source, check_names
from ptaudit.replay.data.table import table_source

if TYPE_CHECKING:
    from ptaudit.spec.model import DataSpec


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
        if "header" not in options:
            head = pd.read_csv(path, nrows=1, dtype=str, header=None, **settings).iloc[0].dropna()
            check_names(head.str.strip(), str(path))
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
    return frame
