"""A table in memory to records: what csv and parquet files, and data frames, have in common."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from ptaudit.errors import DataError
from ptaudit.replay.data.records import Field, Records, Source, check_column, check_enough, kept_columns
from ptaudit.replay.data.tensors import MISSING
from ptaudit.replay.data.text import counting, dates, refusal

if TYPE_CHECKING:
    from ptaudit.spec.model import DataSpec

_MAX_CATEGORIES = 2000

MOST_LEVELS = 32
"""Columns with more values are no fields."""


@dataclass(frozen=True)
class InputColumn:
    """One column that becomes inputs.

    Attributes:
        name: its name in the table.
        values: (n,) float64 numbers, NaN where missing; or int codes of categories in sorted order.
        names: what the categories are called; None for numbers.
    """

    name: str
    values: NDArray[Any]
    names: tuple[str, ...] | None

    @property
    def categories(self) -> int | None:
        """Number of categories; None for numbers."""
        return None if self.names is None else len(self.names)


@dataclass(frozen=True)
class TableSource:
    """A table in memory; what the preprocessing learns waits for the split.

    Attributes:
        where: the file, for errors.
        inputs: the columns that become inputs, in the order of the table.
        targets: (n,) int64 codes of the classes in sorted order, or float32 numbers.
        classes: number of classes, or None.
        columns: attributes, user and the column to split by, as they stand (missing text entries as `(missing)`).
        rare: categories that fewer members have are not told apart.
    """

    where: str
    inputs: tuple[InputColumn, ...]
    targets: NDArray[Any]
    classes: int | None
    columns: Mapping[str, NDArray[Any]]
    rare: int

    def __len__(self) -> int:
        return len(self.targets)

    def records(self, members: NDArray[np.int64]) -> Records:
        """All records: numbers standardised, categories one-hot, both as the members have them.

        A missing number becomes the members' median. A missing category is a category of its own. What no member has,
        or fewer than `rare`, falls into `other`, the last column of each category.

        Raises:
            DataError: a column has no value among the members, or too many categories.
        """
        places = {column.name: self._places(column, members) for column in self.inputs if column.categories}
        widths = [int(places[c.name].max()) + 1 if c.categories else 1 for c in self.inputs]
        matrix = np.zeros((len(self), sum(widths)), np.float32)
        everyone, start, fields = np.arange(len(self)), 0, {}
        for column, width in zip(self.inputs, widths, strict=True):
            if column.categories:
                matrix[everyone, start + places[column.name][column.values]] = 1
            else:
                matrix[:, start] = self._numbers(column, members)
            if found := _field(column, start, matrix[:, start : start + width]):
                fields[column.name] = found
            start += width
        targets = torch.from_numpy(self.targets)
        return Records(torch.from_numpy(matrix), targets, self.classes, self.columns, fields)

    def _numbers(self, column: InputColumn, members: NDArray[np.int64]) -> NDArray[np.float32]:
        values, missing = column.values, np.isnan(column.values)
        if missing[members].all():
            raise DataError(
                f"column {column.name!r} has no value in any member",
                where=self.where,
                remedy=f"add {column.name} to data.drop",
            )
        if missing.any():
            values = np.where(missing, np.median(values[members][~missing[members]]), values)
        with np.errstate(over="ignore", invalid="ignore"):
            spread = values[members].var()
            scaled = standardised(values[:, None], members)[:, 0].astype(np.float32)
        if not (np.isfinite(spread) and np.isfinite(scaled).all()):
            raise DataError(
                f"column {column.name!r} has numbers too large to be standardised, as in record "
                f"{np.abs(values).argmax()}",
                where=self.where,
                remedy=f"add {column.name} to data.drop, or mend the table",
            )
        return scaled

    def _places(self, column: InputColumn, members: NDArray[np.int64]) -> NDArray[np.int64]:
        """Place of each category in the one-hot columns; the last one is `other`."""
        known = np.bincount(column.values[members], minlength=column.categories or 0) >= self.rare
        total = int(known.sum())
        if total > _MAX_CATEGORIES:
            raise DataError(
                f"column {column.name!r} has {total} categories (at most {_MAX_CATEGORIES} are one-hot encoded)",
                where=self.where,
                remedy=f"add {column.name} to data.drop if it is an identifier, or set data.rare",
            )
        return np.append(np.where(known, np.cumsum(known) - 1, total), total)


def _field(column: InputColumn, start: int, encoded: NDArray[np.float32]) -> Field | None:
    """The column as a field, where it has few values: categories, or whole numbers."""
    known = np.ones(len(encoded), bool) if column.categories else ~np.isnan(column.values)
    names = column.names
    if names is None:
        numbers = np.unique(column.values[known])
        if len(numbers) > MOST_LEVELS or (numbers != np.floor(numbers)).any():
            return None
        codes = np.searchsorted(numbers, column.values)
        names = tuple(f"{number:g}" for number in numbers)
    else:
        codes, known = column.values, column.values != _place(names, MISSING)
    first = [int(np.flatnonzero(known & (codes == level))[0]) if (known & (codes == level)).any() else -1
             for level in range(len(names))]  # fmt: skip
    there = [level for level, record in enumerate(first) if record >= 0]
    if not 2 <= len(there) <= MOST_LEVELS:
        return None
    renamed = np.full(len(names), -1)
    renamed[there] = np.arange(len(there))
    levels = torch.from_numpy(encoded[[first[level] for level in there]].copy())
    return Field(
        column.name, start, np.where(known, renamed[np.minimum(codes, len(names) - 1)], -1).astype(np.int64), levels,
        tuple(names[level] for level in there),
    )  # fmt: skip


def _place(names: Sequence[str], name: str) -> int:
    return names.index(name) if name in names else -1


def table_source(table: pd.DataFrame, data: DataSpec, where: str) -> Source:
    """Take label, attributes and user out of a table, and drop what is not an input.

    Attributes stay inputs unless `drop` names them; the user and the column to split by never are.

    Raises:
        DataError: a column that the spec names is not there, or a column has no meaning as input or label.
    """
    check_enough(len(table), where)
    if data.label is None:
        raise DataError("a table needs data.label", where=where, remedy=f"columns: {_names(table.columns)}")
    for key, names in (("label", [data.label]), ("drop", data.drop), ("categorical", data.categorical)):
        for name in names:
            check_column(name, key, table.columns, where)
    kept = kept_columns(data, {str(name): table[name] for name in table.columns}, where)
    outside = {data.label, data.user, data.split_by, *data.drop}
    names = [name for name in table.columns if name not in outside]
    if not names:
        raise DataError("no column is left as an input", where=where, remedy="shorten data.drop")
    inputs = _inputs(table, names, data, where)
    targets, classes = _targets(table[data.label], data, where)
    columns = {name: column_values(column, where) for name, column in kept.items()}
    return TableSource(where, tuple(inputs), targets, classes, columns, data.rare)


def _inputs(table: pd.DataFrame, names: Sequence[Any], data: DataSpec, where: str) -> list[InputColumn]:
    """The columns that become inputs.

    Raises:
        DataError: columns that hold no numbers, dates or categories; all of them are named.
    """
    read = {name: _dated(table[name]) if name not in data.categorical else table[name] for name in names}
    checked = [name for name in names if name not in data.categorical and _as_numbers(read[name]) is None]
    refused = [found for name in checked if (found := refusal(read[name], data.rare))]
    refused += [found for name in names if (found := counting(read[name]))]
    if refused:
        remedies = list(dict.fromkeys(remedy for _, remedy in refused))
        raise DataError("; ".join(what for what, _ in refused), where=where, remedy="; ".join(remedies))
    return [_input(read[name], name in data.categorical, where) for name in names]


def _dated(column: pd.Series[Any]) -> pd.Series[Any]:
    """The column, as dates where its text is."""
    text = pd.api.types.is_object_dtype(column.dtype) or pd.api.types.is_string_dtype(column.dtype)
    found = dates(column) if text else None
    return column if found is None else found


def _targets(column: pd.Series[Any], data: DataSpec, where: str) -> tuple[NDArray[Any], int | None]:
    """Targets as `data.target` and `data.classes` say; else see `class_codes`."""
    if data.target != "number" and data.classes is None:
        return class_codes(column, where)
    values = _as_numbers(column)
    if values is None or not np.isfinite(values).all():
        raise DataError(
            f"column {column.name!r} (the label) holds what is no number",
            where=where,
            remedy="remove data.target and data.classes, or mend the table",
        )
    if data.target == "number":
        return values.astype(np.float32), None
    assert data.classes is not None
    codes = values.astype(np.int64)
    if (codes != values).any() or codes.min() < 0 or codes.max() >= data.classes:
        raise DataError(
            f"column {column.name!r} (the label) holds {values.min():g} to {values.max():g}, and data.classes asks for "
            f"whole numbers from 0 to {data.classes - 1}",
            where=where,
            remedy="raise data.classes, or leave it out: labels are then numbered in sorted order",
        )
    return codes, data.classes


def class_codes(column: pd.Series[Any], where: str) -> tuple[NDArray[Any], int | None]:
    """Targets from a label column: classes coded in sorted order; a column with decimal fractions stays numbers.

    Raises:
        DataError: an entry is missing or infinite.
    """
    missing = np.flatnonzero(column.isna().to_numpy())
    if len(missing):
        raise DataError(
            f"column {column.name!r} (the label) is empty in {len(missing)} records, first in record {missing[0]}",
            where=where,
            remedy="remove these records, or give the missing label a name of its own",
        )
    values = column_values(column, where)
    if values.dtype.kind == "f":
        _check_finite(values, str(column.name), where)
        if not np.array_equal(values, np.round(values)):
            return values.astype(np.float32), None
    classes, codes = np.unique(values, return_inverse=True)
    return codes.astype(np.int64), len(classes)


def column_values(column: pd.Series[Any], where: str) -> NDArray[Any]:
    """A column as it stands: numbers, or text with `(missing)` where there is none."""
    numbers = _as_numbers(column)
    if numbers is None:
        codes, names = _as_categories(column, where)
        return names[codes]
    plain = column.to_numpy()
    return plain if plain.dtype.kind in "biuf" else numbers


def _input(column: pd.Series[Any], categorical: bool, where: str) -> InputColumn:
    name = str(column.name)
    numbers = None if categorical else _as_numbers(column)
    if numbers is None:
        codes, names = _as_categories(column, where)
        return InputColumn(name, codes, tuple(map(str, names.tolist())))
    _check_finite(numbers, name, where)
    return InputColumn(name, numbers, None)


def _as_numbers(column: pd.Series[Any]) -> NDArray[np.float64] | None:
    """Numbers as float64 with NaN where missing; dates and durations as days; None for what is text or categories."""
    kinds = pd.api.types
    if isinstance(column.dtype, pd.CategoricalDtype):
        return None
    if kinds.is_object_dtype(column.dtype):
        inside = kinds.infer_dtype(column, skipna=True)
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


def _as_categories(column: pd.Series[Any], where: str) -> tuple[NDArray[np.int64], NDArray[np.str_]]:
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


def _check_finite(values: NDArray[np.float64], name: str, where: str) -> None:
    infinite = np.flatnonzero(np.isinf(values))
    if len(infinite):
        raise DataError(
            f"column {name!r} is infinite in record {infinite[0]}", where=where, remedy="mend the table, or drop it"
        )


def standardised(values: NDArray[np.float64], members: NDArray[np.int64]) -> NDArray[np.float64]:
    """Columns (n, d) with the members' mean 0 and variance 1; a column constant among the members is only centred."""
    scale = values[members].std(axis=0)
    scale[scale == 0] = 1.0
    return np.asarray((values - values[members].mean(axis=0)) / scale)


def _names(columns: Sequence[Any] | pd.Index[Any]) -> str:
    names = [str(name) for name in columns]
    return ", ".join(names[:12]) + (", ..." if len(names) > 12 else "")
