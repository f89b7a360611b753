"""Input columns of few values, for adversaries that ask "what if"."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from ptaudit.data.kinds import InputColumn
from ptaudit.data.records import Field
from ptaudit.data.tensors import MISSING

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
