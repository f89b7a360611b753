"""A table in memory to records: what csv and parquet files, and data frames, have in common."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from ptaudit.data.kinds import InputColumn, as_numbers, column_values, dated, input_column, kind_of
from ptaudit.data.labels import label_column
from ptaudit.data.preprocess import Fit, LevelCode, Preprocessing, as_they_stand, encode, fitted, read
from ptaudit.data.records import (
    ColumnUse,
    Labels,
    Records,
    Source,
    check_column,
    check_enough,
    check_names,
    kept_columns,
)
from ptaudit.data.text import counting, refusal
from ptaudit.errors import DataError

if TYPE_CHECKING:
    from ptaudit.spec.model import DataSpec
from ptaudit.data.records import Field
from ptaudit.data.tensors import MISSING


@dataclass(frozen=True)
class TableSource:
    """A table in memory; what the preprocessing learns waits for the split.

    Attributes:
        where: the file, for errors.
        inputs: the columns that become inputs, in the order of the inputs.
        labels: targets and their classes.
        columns: attributes, user and the column to split by, as they stand (missing text entries as `(missing)`).
        uses: every column of the table, and what it is used for.
        stated: how the user says that columns become inputs; None to fit it on the members.
        rare: categories that fewer members have are not told apart.
        fit: what learns from the members how columns become inputs.
    """

    where: str
    inputs: tuple[InputColumn, ...]
    labels: Labels
    columns: Mapping[str, NDArray[Any]]
    uses: tuple[ColumnUse, ...] = ()
    stated: Preprocessing | None = None
    rare: int = 1
    fit: Fit = fitted

    def __len__(self) -> int:
        return len(self.labels.targets)

    def records(self, members: NDArray[np.int64]) -> Records:
        """All records: as the user says, else numbers standardised and categories one-hot, both as the members have
        them.

        Fitted, a missing number becomes the members' median, and a missing category is one of its own. What no member
        has, or fewer than `rare`, falls into `other`, the last input of each category.

        Raises:
            DataError: a column has no value among the members, or too many categories; or there is what the user's
                preprocessing does not know.
        """
        codes = self.fit(self.inputs, members, self.rare, self.where) if self.stated is None else self.stated
        matrix = np.zeros((len(self), sum(codes[column.name].width for column in self.inputs)), np.float32)
        start, fields, places = 0, {}, {}
        for column in self.inputs:
            place = slice(start, start + codes[column.name].width)
            encode(column, codes[column.name], matrix[:, place], self.where)
            if found := field_of(column, start, matrix[:, place]):
                fields[column.name] = found
            places[column.name], start = place, place.stop
        return Records(
            torch.from_numpy(matrix), torch.from_numpy(self.labels.targets), self.labels.classes, self.columns, fields,
            class_names=self.labels.names, preprocessing=codes,
            uses=tuple(replace(use, places=places.get(use.name)) for use in self.uses),
        )  # fmt: skip


def table_source(table: pd.DataFrame, data: DataSpec, where: str, unread: Sequence[str] = ()) -> Source:
    """Take label, attributes and user out of a table, and drop what is not an input.

    Attributes stay inputs unless `drop` names them; the user and the column to split by never are.

    Args:
        table: the columns that were read.
        data: what the spec says of them.
        where: the file, for errors.
        unread: names of further columns, which nobody needs.

    Raises:
        DataError: a column that the spec names is not there, or a column has no meaning as input or label.
    """
    check_enough(len(table), where)
    if data.label is None:
        raise DataError("a table needs data.label", where=where, remedy=f"columns: {_names(table.columns)}")
    check_names(table.columns, where)
    everything = [*table.columns, *unread]
    for key, names in (("label", [data.label]), ("drop", data.drop), ("categorical", data.categorical)):
        for name in names:
            check_column(name, key, everything, where)
    kept = kept_columns(data, {str(name): table[name] for name in table.columns}, where)
    outside = {data.label, data.user, data.split_by, *data.drop}
    names = [name for name in table.columns if name not in outside]
    if not names:
        raise DataError("no column is left as an input", where=where, remedy="shorten data.drop")
    columns = {name: column_values(column, where) for name, column in kept.items()}
    labels = label_column(table[data.label], data, where)
    unused = tuple(ColumnUse(name, "", None, None, ("drop",)) for name in unread)
    found = _source(table, names, labels, data, where)
    return replace(found, columns=columns, uses=found.uses + unused)


def measured(table: pd.DataFrame, labels: Labels, data: DataSpec, fit: Fit) -> Source:
    """A table whose columns are all inputs, beside its labels."""
    return replace(_source(table, list(table.columns), labels, data, data.source), fit=fit)


def _source(table: pd.DataFrame, names: Sequence[Any], labels: Labels, data: DataSpec, where: str) -> TableSource:
    stated = None if data.preprocess_file is None else _read_for(names, data.preprocess_file)
    inputs = _inputs(table, names if stated is None else list(stated), _categorical(data, stated), data.rare, where)
    if data.preprocess == "none":
        stated = as_they_stand(inputs, where)
    by_name = {column.name: column for column in inputs}
    uses = tuple(_use(table[name], by_name.get(name), data) for name in table.columns)
    return TableSource(where, inputs, labels, {}, uses, stated, data.rare)


def _read_for(names: Sequence[Any], path: Path) -> Preprocessing:
    """The preprocessing in a file, which is about these columns.

    Raises:
        DataError: it is about others.
    """
    found = read(path)
    more, fewer = [name for name in found if name not in names], [name for name in names if name not in found]
    said = [f"has no {_names(fewer)}, which the table has as inputs" if fewer else ""]
    said += [f"has {_names(more)}, which are no inputs of the table" if more else ""]
    if more or fewer:
        raise DataError(
            "; ".join(text for text in said if text),
            where=str(path),
            remedy="it needs an entry for each input column: see data.drop, or complete the file",
        )
    return found


def _categorical(data: DataSpec, stated: Preprocessing | None) -> set[str]:
    """Columns that are categories whatever they hold: the spec says so, or lists their levels."""
    return {*data.categorical, *(name for name, code in (stated or {}).items() if isinstance(code, LevelCode))}


def _inputs(
    table: pd.DataFrame, names: Sequence[Any], categorical: set[str], rare: int, where: str
) -> tuple[InputColumn, ...]:
    """The columns that become inputs.

    Raises:
        DataError: columns that hold no numbers, dates or categories; all of them are named.
    """
    read = {name: dated(table[name]) if name not in categorical else table[name] for name in names}
    checked = [name for name in names if name not in categorical and as_numbers(read[name]) is None]
    refused = [found for name in checked if (found := refusal(read[name], rare))]
    refused += [found for name in names if (found := counting(read[name]))]
    if refused:
        remedies = list(dict.fromkeys(remedy for _, remedy in refused))
        raise DataError("; ".join(what for what, _ in refused), where=where, remedy="; ".join(remedies))
    return tuple(input_column(read[name], name in categorical, where) for name in names)


def _use(column: pd.Series[Any], as_input: InputColumn | None, data: DataSpec) -> ColumnUse:
    name = str(column.name)
    roles: dict[str, Sequence[str | None]] = {
        "label": [data.label],
        "attribute": data.attributes,
        "user": [data.user],
        "split by": [data.split_by],
    }
    found = [role for role, named in roles.items() if name in named]
    found += ["drop"] if as_input is None and not found else []
    if as_input is None:
        return ColumnUse(name, kind_of(column), None, int(column.isna().sum()), tuple(found))
    return ColumnUse(name, as_input.kind, as_input.levels, as_input.missing, ("input", *found))


def _names(columns: Sequence[Any] | pd.Index[Any]) -> str:
    names = [str(name) for name in columns]
    return ", ".join(names[:12]) + (", ..." if len(names) > 12 else "")


MOST_LEVELS = 32
"""Columns with more values are no fields."""


def field_of(column: InputColumn, start: int, encoded: NDArray[np.float32]) -> Field | None:
    """The column as a field, where it has few values: categories, or whole numbers.

    Args:
        column: its values.
        start: its first place among the inputs.
        encoded: the inputs it became, `(n, width)`.
    """
    known, names = ~np.isnan(column.values), column.names
    if names is None:
        numbers = np.unique(column.values[known])
        if len(numbers) > MOST_LEVELS or (numbers != np.floor(numbers)).any():
            return None
        codes = np.searchsorted(numbers, column.values)
        names = tuple(f"{number:g}" for number in numbers)
    else:
        codes, known = column.values, column.values != (names.index(MISSING) if MISSING in names else -1)
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
