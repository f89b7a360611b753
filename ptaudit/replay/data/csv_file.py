"""`csv:PATH`: a table with a label column, plain or compressed (`.csv.gz`)."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from ptaudit.errors import DataError
from ptaudit.replay.data.records import Records, Source, standardised

if TYPE_CHECKING:
    from ptaudit.spec.model import DataSpec

MISSING = "(missing)"
"""The category of a missing entry."""
_MAX_CATEGORIES = 2000
_ALSO_MISSING = ("?",)  # beside pandas' own list; the UCI sets use it


@dataclass(frozen=True)
class TableSource:
    """A table in memory; what the preprocessing learns waits for the split.

    Attributes:
        path: the file, for errors.
        inputs: the columns that become inputs, in the order of the file.
        targets: (n,) int64 codes of the classes in sorted order, or float32 numbers.
        classes: number of classes, or None.
        columns: attributes and user, as they stand in the file (missing text entries as `(missing)`).
    """

    path: Path
    inputs: pd.DataFrame
    targets: NDArray[Any]
    classes: int | None
    columns: dict[str, NDArray[Any]]

    def __len__(self) -> int:
        return len(self.targets)

    def records(self, members: NDArray[np.int64]) -> Records:
        """All records: numbers standardised, categories one-hot, both as the members have them.

        A missing number becomes the members' median. A missing category is a category of its own. What no member has
        falls into `other`, the last column of each category.

        Raises:
            DataError: a column has no value among the members, is infinite, or has too many categories.
        """
        parts = [self._encoded(name, members) for name in self.inputs.columns]
        matrix = np.concatenate(parts, axis=1)
        return Records(torch.from_numpy(matrix), torch.from_numpy(self.targets), self.classes, self.columns)

    def _encoded(self, name: str, members: NDArray[np.int64]) -> NDArray[np.float32]:
        column = self.inputs[name]
        if pd.api.types.is_numeric_dtype(column):
            return self._numbers(name, column.to_numpy(np.float64, na_value=np.nan), members)
        return self._one_hot(name, _text(column), members)

    def _numbers(self, name: str, values: NDArray[np.float64], members: NDArray[np.int64]) -> NDArray[np.float32]:
        infinite = np.flatnonzero(np.isinf(values))
        if len(infinite):
            raise DataError(f"column {name!r} is infinite in record {infinite[0]}", where=str(self.path))
        missing = np.isnan(values)
        if missing[members].all():
            raise DataError(
                f"column {name!r} has no value in any member", where=str(self.path), remedy=f"add {name} to data.drop"
            )
        if missing.any():
            values = np.where(missing, np.median(values[members][~missing[members]]), values)
        return standardised(values[:, None], members).astype(np.float32)

    def _one_hot(self, name: str, values: NDArray[np.str_], members: NDArray[np.int64]) -> NDArray[np.float32]:
        categories = np.unique(values[members])
        if len(categories) > _MAX_CATEGORIES:
            raise DataError(
                f"column {name!r} has {len(categories)} categories (at most {_MAX_CATEGORIES} are one-hot encoded)",
                where=str(self.path),
                remedy=f"add {name} to data.drop if it is an identifier",
            )
        nearest = np.minimum(np.searchsorted(categories, values), len(categories) - 1)
        code = np.where(categories[nearest] == values, nearest, len(categories))
        encoded = np.zeros((len(values), len(categories) + 1), np.float32)
        encoded[np.arange(len(values)), code] = 1
        return encoded


def open_source(data: DataSpec) -> Source:
    """Read the table, take label, attributes and user out, and drop what is not an input.

    Attributes stay inputs unless `drop` names them; the user column never is one.
    """
    path = Path(data.source.partition(":")[2])
    table = _read(path, data.limit)
    if data.label is None:
        raise DataError("a table needs data.label", where="data", remedy=f"columns: {_names(table.columns)}")
    kept = [*data.attributes, *([data.user] if data.user else [])]
    for key, names in (
        ("label", [data.label]),
        ("attributes", data.attributes),
        ("user", kept[-1:]),
        ("drop", data.drop),
    ):
        for name in names:
            _check_column(table, name, key, path)
    outside = {data.label, data.user, *data.drop}
    inputs = table[[name for name in table.columns if name not in outside]]
    if inputs.shape[1] == 0:
        raise DataError("no column is left as an input", where=str(path), remedy="shorten data.drop")
    targets, classes = _targets(table[data.label], data.label, path)
    return TableSource(path, inputs, targets, classes, {name: _raw(table[name]) for name in kept})


def _read(path: Path, limit: int | None) -> pd.DataFrame:
    if not path.is_file():
        raise DataError("no such file", where=str(path), remedy="check data.source, or fetch the file to this place")
    try:
        table = pd.read_csv(path, nrows=limit, na_values=_ALSO_MISSING, skipinitialspace=True, low_memory=False)
    except (ValueError, OSError, EOFError) as error:  # ParserError and UnicodeDecodeError are ValueErrors
        raise DataError(f"not a readable table: {error}".strip(), where=str(path)) from error
    if len(table) < 2:
        raise DataError(f"{len(table)} records are too few", where=str(path))
    return table


def _check_column(table: pd.DataFrame, name: str, key: str, path: Path) -> None:
    if name in table.columns:
        return
    close = difflib.get_close_matches(name, list(table.columns), n=1, cutoff=0.6)
    raise DataError(
        f"no column {name!r} (data.{key})",
        where=str(path),
        remedy=f"did you mean {close[0]!r}?" if close else f"columns: {_names(table.columns)}",
    )


def _targets(column: pd.Series[Any], name: str, path: Path) -> tuple[NDArray[Any], int | None]:
    """Classes coded in sorted order; a column with decimal fractions stays numbers."""
    missing = np.flatnonzero(column.isna().to_numpy())
    if len(missing):
        raise DataError(
            f"column {name!r} (the label) is empty in {len(missing)} records, first in record {missing[0]}",
            where=str(path),
            remedy="remove these records, or give the missing label a name of its own",
        )
    values = column.to_numpy()
    if values.dtype.kind == "f" and not np.array_equal(values, np.round(values)):
        return values.astype(np.float32), None
    classes, codes = np.unique(_raw(column), return_inverse=True)
    return codes.astype(np.int64), len(classes)


def _raw(column: pd.Series[Any]) -> NDArray[Any]:
    if pd.api.types.is_numeric_dtype(column):
        return column.to_numpy()
    return _text(column)


def _text(column: pd.Series[Any]) -> NDArray[np.str_]:
    return column.astype(object).where(column.notna(), MISSING).to_numpy().astype(str)


def _names(columns: Sequence[Any] | pd.Index[Any]) -> str:
    names = [str(name) for name in columns]
    return ", ".join(names[:12]) + (", ..." if len(names) > 12 else "")
