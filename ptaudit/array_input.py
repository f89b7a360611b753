"""Arrays, lists, tensors and columns of a table as the estimators want them, with errors that say what to do."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor


def side_of(values: ArrayLike | Tensor, name: str) -> Tensor:
    """One side of the pairs.

    Args:
        values: one row a record.
        name: what the caller calls it, for the errors.

    Returns:
        Classes `(N,)`, int64, for one dimension of integers, booleans or words; else numbers `(N, d)`, float64.

    Raises:
        ValueError: for other shapes, missing or non-finite values, or values that are neither numbers nor words.
    """
    array = _array(values)
    if array.ndim not in (1, 2) or 0 in array.shape[1:]:
        raise ValueError(f"{name} must have shape (records,) or (records, coordinates), not {array.shape}")
    if array.dtype.kind == "O":
        array = _of_objects(array, name)
    if array.ndim == 1 and array.dtype.kind in "iubUS":
        return torch.from_numpy(np.unique(array, return_inverse=True)[1].astype(np.int64))
    return numbers_of(array, name)


def numbers_of(values: ArrayLike | Tensor, name: str) -> Tensor:
    """Numbers `(N, d)`, float64; one dimension is one coordinate. Raises as `side_of` does."""
    array = _array(values)
    try:
        numbers = array.astype(np.float64)
    except (TypeError, ValueError):
        wrong = f"{name} must hold numbers, or be one column of classes (integers, booleans or words)"
        raise ValueError(wrong) from None
    if numbers.ndim == 1:
        numbers = numbers[:, None]
    if numbers.ndim != 2 or numbers.shape[1] == 0:
        raise ValueError(f"{name} must have shape (records, coordinates), not {array.shape}")
    bad = np.flatnonzero(~np.isfinite(numbers).all(1))
    if len(bad):
        raise _absent(name, bad, len(numbers))
    return torch.from_numpy(numbers)


def _array(values: ArrayLike | Tensor) -> NDArray[Any]:
    if isinstance(values, Tensor):
        detached = values.detach().cpu()
        return (detached.double() if detached.is_floating_point() else detached).numpy()
    try:
        return np.asarray(values)
    except ValueError as error:  # rows of different lengths
        raise ValueError(f"not an array of one row a record: {error}") from None


def _of_objects(array: NDArray[Any], name: str) -> NDArray[Any]:
    """A column of Python objects (pandas, mixed lists): words as they are, numbers as numbers."""
    missing = np.flatnonzero(pd.isna(array).reshape(len(array), -1).any(1))
    if len(missing):
        raise _absent(name, missing, len(array))
    kinds = {type(value) for value in array.flat}
    if array.ndim == 1 and kinds <= {str}:
        return array.astype(np.str_)
    if array.ndim == 1 and all(issubclass(kind, (bool, np.bool_, int, np.integer)) for kind in kinds):
        return array.astype(np.int64)
    return array


def _absent(name: str, records: NDArray[np.intp], total: int) -> ValueError:
    return ValueError(
        f"{name} has missing or infinite values in {len(records)} of {total} records, the first is record "
        f"{records[0]}: leave those records out on both sides"
    )
