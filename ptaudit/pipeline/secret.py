"""The attribute of a record as a secret: classes or numbers, and which records have one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

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


def attribute_secret(column: NDArray[Any]) -> Secret:
    """Classes for text, truth values and whole numbers with few values (0.0 and 1.0 too); else numbers.

    NaN, None and the like are missing.
    """
    if column.ndim > 1:  # nothing that a game is about; it will say so
        return Secret(np.zeros(column.shape), np.ones(len(column), np.bool_), None)
    known = ~np.asarray(pd.isna(column), np.bool_)
    there = np.array(column[known].tolist() or [""])
    if there.dtype.kind in "iuf" and not _few_whole(there):
        return Secret(_spread(there.astype(np.float64), known), known, None)
    there = there if there.dtype.kind in "iuf" else there.astype(str)
    names, classes = np.unique(there, return_inverse=True)
    return Secret(_spread(classes[: known.sum()].astype(np.int64), known), known, tuple(map(str, names.tolist())))


def _few_whole(numbers: NDArray[Any]) -> bool:
    values = np.unique(numbers)
    return len(values) <= MOST_CLASSES and bool(np.isfinite(values).all() and (values == np.floor(values)).all())


def _spread(values: NDArray[Any], known: NDArray[np.bool_]) -> NDArray[Any]:
    found = np.zeros(len(known), values.dtype)
    found[known] = values
    return found
