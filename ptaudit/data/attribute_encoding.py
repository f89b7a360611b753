"""The attribute of a record as a secret: classes or numbers, and which records have one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ptaudit.data.tensors import MISSING

MOST_CLASSES = 32
"""Whole numbers with more values than this are numbers, not classes."""


@dataclass(frozen=True)
class Secret:
    """An attribute of N records.

    Attributes:
        values: int64 classes or float64 numbers, `(N,)`; 0 where it is missing.
        known: whether a record has one, `(N,)`.
        names: values of the column that the classes stand for; None for numbers.
    """

    values: NDArray[Any]
    known: NDArray[np.bool_]
    names: tuple[str, ...] | None

    def codes_of(self, column: NDArray[Any]) -> NDArray[np.int64]:
        """Classes of other records as these have them: -1 where they are missing or none of these has them."""
        place = {name: code for code, name in enumerate(self.names or ())}
        return np.array([place.get(str(value), -1) for value in column.tolist()], np.int64)


def is_known(column: NDArray[Any]) -> NDArray[np.bool_]:
    """Which records have a value, of a column as sources keep it."""
    return column != MISSING if column.dtype.kind == "U" else ~np.isnan(column.astype(np.float64))


def attribute_secret(column: NDArray[Any]) -> Secret:
    """Classes for text, truth values and whole numbers with few values (0.0 and 1.0 too); else numbers.

    Args:
        column: as sources keep it: numbers with NaN, or text with `(missing)`, where there is none.
    """
    known = is_known(column)
    names, classes = np.unique(column[known], return_inverse=True)
    if column.dtype.kind in "iuf" and not _few_whole(names):
        return Secret(np.where(known, column, 0.0).astype(np.float64), known, None)
    values = np.zeros(len(column), np.int64)
    values[known] = classes
    return Secret(values, known, tuple(map(str, names.tolist())))


def _few_whole(numbers: NDArray[Any]) -> bool:
    whole = np.isfinite(numbers).all() and (numbers == np.floor(numbers)).all()
    return len(numbers) <= MOST_CLASSES and bool(whole)


def having(column: NDArray[Any], values: Sequence[str | float]) -> NDArray[np.bool_]:
    """Which records have one of some values; numbers are compared as numbers, all else as text.

    Raises:
        ValueError: a value that no record has, with those there are.
    """
    if column.dtype.kind in "biuf":
        there: list[Any] = [_number(value) for value in values]
        column = column.astype(np.float64)
        known = np.unique(column[~np.isnan(column)]).tolist()
    else:
        there, column = [str(value) for value in values], column.astype(str)
        known = np.unique(column[column != MISSING]).tolist()
    for value, given in zip(there, values):
        if value not in known:
            some = ", ".join(f"{one:g}" if isinstance(one, float) else one for one in known[:MOST_CLASSES])
            raise ValueError(f"no record has the value `{given}`; there are: {some}")
    return np.asarray(np.isin(column, there))


def _number(value: str | float) -> float:
    try:
        return float(value)
    except ValueError:
        return float("nan")
