"""The label of a table or of arrays: classes numbered in sorted order, codes that the user states, or numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from ptaudit.data.kinds import as_numbers, check_finite, column_values
from ptaudit.data.records import Labels
from ptaudit.errors import DataError

if TYPE_CHECKING:
    from ptaudit.spec.model import DataSpec


def label_column(column: pd.Series[Any], data: DataSpec, where: str) -> Labels:
    """Labels as `data.target` and `data.classes` say; else see `class_codes`.

    Raises:
        DataError: an entry is missing, infinite, or not what the spec says.
    """
    if data.target != "number" and data.classes is None:
        return class_codes(column, where)
    values = as_numbers(column)
    if values is None or not np.isfinite(values).all():
        raise DataError(
            f"column {column.name!r} (the label) holds what is no number",
            where=where,
            remedy="remove data.target and data.classes, or mend the table",
        )
    if data.target == "number":
        return Labels(values.astype(np.float32), None)
    assert data.classes is not None
    codes = _codes(values, data.classes, f"column {column.name!r} (the label)", where)
    return Labels(codes, data.classes, tuple(map(str, range(data.classes))))


def class_codes(column: pd.Series[Any], where: str) -> Labels:
    """Labels from a column: classes coded in sorted order; a column with decimal fractions stays numbers.

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
        check_finite(values, str(column.name), where)
        if not np.array_equal(values, np.round(values)):
            return Labels(values.astype(np.float32), None)
    classes, codes = np.unique(values, return_inverse=True)
    return Labels(codes.astype(np.int64), len(classes), tuple(map(str, classes.tolist())))


def stated_targets(targets: Any, data: DataSpec, where: str) -> Any:
    """Targets of arrays as `data.target` and `data.classes` say: numbers as float32, codes as int64; else as they are.

    Raises:
        DataError: they are not what the spec says.
    """
    if data.target != "number" and data.classes is None:
        return targets
    key = "data.target: number" if data.target == "number" else f"data.classes: {data.classes}"
    try:
        values = np.asarray(targets.detach().cpu() if isinstance(targets, torch.Tensor) else targets, np.float64)
    except (TypeError, ValueError) as error:
        raise DataError(
            f"the targets are no numbers, and the spec says {key}", where=where, remedy=f"remove {key}"
        ) from error
    if data.target == "number":
        return values.astype(np.float32)
    assert data.classes is not None
    if values.ndim != 1:
        raise DataError(
            f"the targets have the shape {values.shape}; {key} is for one label a record",
            where=where,
            remedy=f"remove {key}",
        )
    return _codes(values, data.classes, "the array of targets", where)


def _codes(values: NDArray[np.float64], classes: int, what: str, where: str) -> NDArray[np.int64]:
    finite = bool(np.isfinite(values).all())
    if len(values) and (
        not finite or (values != np.floor(values)).any() or values.min() < 0 or values.max() >= classes
    ):
        raise DataError(
            f"{what} holds {values.min():g} to {values.max():g}, and data.classes asks for whole numbers from 0 to "
            f"{classes - 1}",
            where=where,
            remedy="raise data.classes, or remove it",
        )
    return values.astype(np.int64)
