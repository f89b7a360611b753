"""`parquet:PATH`: a table with a label column, read by pyarrow."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pyarrow import ArrowException, Table, parquet, types

from ptaudit.archives import installed_memory
from ptaudit.data.csv_file import MOST_COLUMNS
from ptaudit.data.records import Source, check_column, check_names
from ptaudit.data.table import table_source
from ptaudit.errors import DataError, first_line

if TYPE_CHECKING:
    from ptaudit.spec.model import DataSpec

_PANDAS_INDEX = re.compile(r"__index_level_\d+__")


def open_source(data: DataSpec) -> Source:
    """Read the columns that are used, and take the table apart as the spec says."""
    path = Path(data.source.partition(":")[2])
    if not path.is_file():
        raise DataError("no such file", where=str(path), remedy="check data.source, or fetch the file to this place")
    try:
        with parquet.ParquetFile(path) as file:
            unread = _unread(file.schema_arrow, data, path)
            names = [name for name in file.schema_arrow.names if name not in unread]
            rows = file.metadata.num_rows
            _check_size(len(names), min(rows, data.limit or rows))
            table = _first_rows(file, names, data.limit)
            table.validate(full=True)  # a damaged file may hold text that is not UTF-8
            frame = table.to_pandas(ignore_metadata=True, date_as_object=False)
    except (ArrowException, OSError, ValueError) as error:
        raise DataError(f"not a readable parquet file: {first_line(error)}", where=str(path)) from error
    return table_source(frame, data, str(path), unread)


def _check_size(columns: int, rows: int) -> None:
    """Refuse what a few bytes can declare and no memory holds; the float32 inputs alone take four bytes a cell."""
    if columns > MOST_COLUMNS:
        raise ValueError(f"{columns:,} columns (at most {MOST_COLUMNS:,}); add some to data.drop")
    if 4 * columns * rows > installed_memory():
        raise ValueError(f"{rows:,} rows of {columns:,} columns do not fit into memory; set data.limit")


def _unread(schema: Any, data: DataSpec, path: Path) -> list[str]:
    """Columns that nobody uses; of those that are used, the types are checked."""
    check_names(schema.names, str(path))
    for name in data.drop:
        check_column(name, "drop", schema.names, str(path))
    kept = {data.label, *(name for names in data.columns.values() for name in names)}
    unread = [
        name for name in schema.names if name not in kept and (name in data.drop or _PANDAS_INDEX.fullmatch(name))
    ]
    for field in schema:
        if field.name not in unread:
            _check_type(field, path)
    return unread


def _first_rows(file: Any, names: list[str], limit: int | None) -> Any:
    if limit is None:
        return file.read(columns=names)
    batches, found = [], 0
    for batch in file.iter_batches(batch_size=min(limit, 65536), columns=names):
        batches.append(batch)
        found += len(batch)
        if found >= limit:
            break
    return (
        Table.from_batches(batches, schema=batches[0].schema).slice(0, limit) if batches else file.read(columns=names)
    )


def _check_type(field: Any, path: Path) -> None:
    kind = field.type.value_type if types.is_dictionary(field.type) else field.type
    binary = types.is_binary(kind) or types.is_large_binary(kind) or types.is_fixed_size_binary(kind)
    if types.is_nested(kind) or binary:
        raise DataError(
            f"column {field.name!r} is {field.type}, not one number or text per record",
            where=str(path),
            remedy=f"add {field.name} to data.drop, or unfold it into columns of its own",
        )
