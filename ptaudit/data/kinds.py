"""What a column of a table holds: numbers, dates as days, or categories."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ptaudit.data.tensors import MISSING
from ptaudit.data.text import dates
from ptaudit.errors import DataError

Kind = Literal["number", "date", "duration", "truth value", "category"]


@dataclass(frozen=True)
class InputColumn:
    """One column that becomes inputs.

    Attributes:
        name: its name in the table.
        kind: what it holds.
        values: (n,) float64 numbers, NaN where missing; or int codes of categories in sorted order.
        names: what the categories are called; None for numbers.
    """

    name: str
    kind: Kind
    values: NDArray[Any]
    names: tuple[str, ...] | None

    @property
    def levels(self) -> int | None:
        """How many different categories there are, a missing one not counted; None for numbers."""
        if self.names is None:
            return None
        return int(np.count_nonzero(np.bincount(self.values))) - (self.missing > 0)

    @property
    def missing(self) -> int:
        """How many entries are missing."""
        if self.names is None:
            return int(np.isnan(self.values).sum())
        return int((self.values == self.names.index(MISSING)).sum()) if MISSING in self.names else 0


def input_column(column: pd.Series[Any], categorical: bool, where: str) -> InputColumn:
    """The column as numbers, or as categories where it holds text or is called `categorical`.

    Raises:
        DataError: a number is infinite, or an entry is a list or the like.
    """
    name = str(column.name)
    numbers = None if categorical else as_numbers(column)
    if numbers is None:
        codes, names = as_categories(column, where)
        return InputColumn(name, "category", codes, tuple(map(str, names.tolist())))
    check_finite(numbers, name, where)
    return InputColumn(name, kind_of(column), numbers, None)


def kind_of(column: pd.Series[Any]) -> Kind:
    """What a column holds."""
    kinds = pd.api.types
    if kinds.is_bool_dtype(column.dtype):
        return "truth value"
    if kinds.is_timedelta64_dtype(column.dtype):
        return "duration"
    if as_numbers(column) is None:
        return "category"
    return "number" if kinds.is_numeric_dtype(column.dtype) or _inside(column) == "decimal" else "date"


def dated(column: pd.Series[Any]) -> pd.Series[Any]:
    """The column, as dates where its text is, or its periods begin."""
    if isinstance(column.dtype, pd.PeriodDtype):
        starts: pd.Series[Any] = column.dt.to_timestamp()
        return starts
    text = pd.api.types.is_object_dtype(column.dtype) or pd.api.types.is_string_dtype(column.dtype)
    found = dates(column) if text else None
    return column if found is None else found


def column_values(column: pd.Series[Any], where: str) -> NDArray[Any]:
    """A column as it stands: numbers, or text with `(missing)` where there is none."""
    numbers = as_numbers(column)
    if numbers is None:
        codes, names = as_categories(column, where)
        return names[codes]
    plain = column.to_numpy()
    return plain if plain.dtype.kind in "biuf" else numbers


def as_numbers(column: pd.Series[Any]) -> NDArray[np.float64] | None:
    """Numbers as float64 with NaN where missing; dates and durations as days; None for what is text or categories."""
    kinds = pd.api.types
    if isinstance(column.dtype, pd.CategoricalDtype):
        return None
    if kinds.is_object_dtype(column.dtype):
        inside = _inside(column)
        if inside == "decimal":
            return np.asarray(column.to_numpy(np.float64, na_value=np.nan))
        if inside not in ("date", "datetime"):
            return None
        column = pd.to_datetime(column, utc=True)
    if kinds.is_datetime64_any_dtype(column.dtype):
        # Not by a difference of timestamps: those of the year 1 or 9999 have none in nanoseconds.
        stamps = pd.to_datetime(column, utc=True).dt.tz_localize(None).to_numpy("datetime64[us]")
        return np.where(np.isnat(stamps), np.nan, stamps.astype(np.int64) / 86_400e6)
    if kinds.is_timedelta64_dtype(column.dtype):
        return np.asarray(column.dt.total_seconds().to_numpy(np.float64, na_value=np.nan) / 86400)
    if kinds.is_numeric_dtype(column.dtype) and not kinds.is_complex_dtype(column.dtype):
        return np.asarray(column.to_numpy(np.float64, na_value=np.nan))
    return None


def as_categories(column: pd.Series[Any], where: str) -> tuple[NDArray[np.int64], NDArray[np.str_]]:
    """Codes (n,) and the sorted texts they stand for."""
    try:
        found, values = pd.factorize(column)
    except TypeError as error:  # unhashable: lists, dictionaries, arrays
        raise DataError(
            f"column {column.name!r} holds nested values, not one number or text per record",
            where=where,
            remedy=f"add {column.name} to data.drop, or unfold it into columns of its own",
        ) from error
    texts = np.array([*(str(value) for value in values), MISSING])  # -1, the code of a missing entry, is the last
    names, place = np.unique(texts, return_inverse=True)
    return place[found].astype(np.int64), names


def check_finite(values: NDArray[np.float64], name: str, where: str) -> None:
    """Refuse infinite numbers."""
    infinite = np.flatnonzero(np.isinf(values))
    if len(infinite):
        raise DataError(
            f"column {name!r} is infinite in record {infinite[0]}", where=where, remedy="mend the table, or drop it"
        )


def _inside(column: pd.Series[Any]) -> str:
    return str(pd.api.types.infer_dtype(column, skipna=True))
