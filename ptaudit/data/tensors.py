"""Arrays, lists and tensors as a user has them, to tensors as a model and a loss take them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ptaudit.errors import DataError
from ptaudit.model_input import Inputs

IGNORED = -100
"""Target of a position that does not count in `cross_entropy`, as in PyTorch."""
MISSING = "(missing)"
"""The text of a missing entry."""

_IMAGE_CHANNELS = (1, 3, 4)
_ONE_SHAPE = (
    "bring all records to one shape; pad sequences and return a dict with their mask, e.g. {ids: ..., mask: ...}"
)


def input_tensors(values: Any, where: str) -> Inputs:
    """Inputs of all records: one tensor, or several in a tuple (arguments of the model) or a dict (by name).

    Among several, booleans stay booleans (masks), and where a dict has a key with `mask` in its name, sequences of
    different lengths are filled up with zeros at the end: the mask says what counts.

    Raises:
        DataError: as `input_tensor`, or the parts differ in their number of records.
    """
    if isinstance(values, Mapping):
        pad = has_mask(values)
        parts = {str(name): _part(value, where, f"inputs `{name}`", pad) for name, value in values.items()}
        _check_counts(parts, where)
        return parts
    if isinstance(values, tuple):
        places = {str(place): _part(value, where, f"inputs {place}", False) for place, value in enumerate(values)}
        _check_counts(places, where)
        return tuple(places.values())
    return input_tensor(values, where)


def has_mask(names: Any) -> bool:
    """Whether one of the names is that of a mask of positions."""
    return isinstance(names, Mapping) and any("mask" in str(name) for name in names)


def _part(values: Any, where: str, name: str, pad: bool) -> Tensor:
    tensor = _as_tensor(values, where, name, fill=0 if pad else None)
    return tensor if tensor.dtype == torch.bool else _as_inputs(tensor, where, name)


def _check_counts(parts: Mapping[str, Tensor], where: str) -> None:
    counts = {name: len(tensor) for name, tensor in parts.items()}
    if len(set(counts.values())) != 1:
        listed = ", ".join(f"{name}: {count}" for name, count in counts.items()) or "none"
        raise DataError(
            f"the parts of the inputs do not have the same number of records ({listed})",
            where=where,
            remedy="a tuple or a dict of inputs has one array for each argument of the model, not for each record",
        )


def input_tensor(values: Any, where: str) -> Tensor:
    """Inputs as a model takes them.

    uint8 of three or four dimensions are images: (n, h, w), (n, h, w, c) or (n, c, h, w) become float32 (n, c, h, w) in
    [0, 1]. Other uint8, booleans and floats become float32 as they are (rows of codes among them, see
    `forward.with_codes`); wider integers stay integers (token ids).

    Raises:
        DataError: not numbers, no record dimension, of different shapes, or not finite.
    """
    return _as_inputs(_as_tensor(values, where, "inputs"), where, "inputs")


def _as_inputs(tensor: Tensor, where: str, name: str) -> Tensor:
    if tensor.dtype == torch.uint8 and tensor.dim() in (3, 4):
        return _images(tensor)
    if tensor.dtype in (torch.uint8, torch.bool) or tensor.is_floating_point():
        tensor = tensor.to(torch.float32)
        _check_finite(tensor, where, name)
        return tensor.contiguous()
    return tensor.to(torch.int64)


def target_tensor(
    values: Any, where: str, classes: int | None = None, *, pad: bool = False
) -> tuple[Tensor, int | None]:
    """Targets as a loss takes them, and the number of classes.

    Integers and booleans of shape (n,) or (n, 1) are classes and must be 0..C-1, none missing, unless `classes` is
    given; floats stay numbers.

    Args:
        values: (n,) or (n, ...).
        where: the file or source that errors name.
        classes: number of classes where the source knows it.
        pad: fill sequences of different lengths up with positions that do not count (-100).

    Raises:
        DataError: not numbers, not finite, or not classes 0..C-1; the values are named.
    """
    tensor = _as_tensor(values, where, "targets", fill=IGNORED if pad else None)
    if tensor.is_floating_point():
        tensor = tensor.to(torch.float32)
        _check_finite(tensor, where, "targets")
        return tensor, None
    tensor = tensor.to(torch.int64)
    if tensor.dim() == 2 and tensor.shape[1] == 1:
        tensor = tensor.squeeze(1)
    if tensor.dim() != 1:
        return tensor, None
    found = np.unique(tensor.numpy()).tolist()
    known = len(found) if classes is None else classes
    if found and (found[0] < 0 or found[-1] >= known):  # distinct and below their number: none is missing
        raise DataError(
            f"the labels are {_some(found)}; classes must be 0..C-1 with none missing",
            where=where,
            remedy="set data.classes where not all are there, map them in a data function (file.py:fn), or give them "
            "as float32 if they are measurements",
        )
    return tensor, known


def column_array(values: Any, name: str, n: int, where: str) -> NDArray[Any]:
    """A further column as numbers or text (n,); missing text becomes `(missing)`.

    Raises:
        DataError: not one entry for each of the n records.
    """
    array = values.detach().cpu().numpy() if isinstance(values, Tensor) else np.asarray(values)
    if array.shape != (n,):
        raise DataError(
            f"column {name!r} has the shape {array.shape}, not one entry for each of {n} records", where=where
        )
    if array.dtype.kind in "biuf":
        return array
    if array.dtype.kind == "O":
        array = np.array([MISSING if entry is None or entry != entry else str(entry) for entry in array.tolist()])
    return array.astype(str)


def _as_tensor(values: Any, where: str, name: str, fill: int | None = None) -> Tensor:
    if isinstance(values, Tensor):
        tensor = values.detach().cpu()
        tensor = tensor if tensor.layout == torch.strided else tensor.to_dense()
    else:
        array = (
            values if isinstance(values, np.ndarray) and values.dtype.kind != "O" else _array(values, where, name, fill)
        )
        if array.dtype.kind not in "biuf":
            few = _some(np.unique(array.astype(str)).tolist())
            raise DataError(
                f"the {name} are not numbers: {few}",
                where=where,
                remedy="code them as numbers, classes as 0..C-1, in a data function",
            )
        if array.dtype.kind == "u" and array.dtype.itemsize > 1:
            array = array.astype(np.int64)
        if array.dtype.kind == "f" and array.dtype.itemsize > 8:
            array = array.astype(np.float64)
        # A copy: the user's array stays the user's.
        tensor = torch.from_numpy(np.array(array, order="C", dtype=array.dtype.newbyteorder("=")))
    if tensor.dim() == 0 or tensor.is_complex():
        raise DataError(
            f"the {name} are {tensor.dtype} of shape {tuple(tensor.shape)}, not one entry per record", where=where
        )
    return tensor


def _array(values: Any, where: str, name: str, fill: int | None) -> NDArray[Any]:
    """One array from a list of records, or from what can be turned into one."""
    if hasattr(values, "toarray"):  # a sparse matrix of scipy
        return np.asarray(values.toarray())
    if not isinstance(values, list | tuple | np.ndarray) or (isinstance(values, np.ndarray) and values.ndim != 1):
        return np.asarray(values)
    rows = [row.detach().cpu().numpy() if isinstance(row, Tensor) else row for row in values]
    try:
        return np.asarray(rows)
    except ValueError:  # of different shapes
        arrays = [np.asarray(row) for row in rows]
    if fill is not None and all(array.ndim == 1 and array.dtype.kind in "biuf" for array in arrays):
        return _padded(arrays, fill)
    odd = next(place for place, array in enumerate(arrays) if array.shape != arrays[0].shape)
    single = name.removesuffix("s") if name in ("inputs", "targets") else name
    raise DataError(
        f"{single} {odd} has the shape {arrays[odd].shape}, {single} 0 has {arrays[0].shape}",
        where=where,
        remedy=_ONE_SHAPE,
    )


def _padded(rows: list[NDArray[Any]], fill: int) -> NDArray[Any]:
    lengths = np.array([len(row) for row in rows])
    values = np.concatenate(rows)
    padded = np.full((len(rows), lengths.max()), fill, values.dtype)
    padded[np.arange(lengths.max()) < lengths[:, None]] = values
    return padded


def _images(tensor: Tensor) -> Tensor:
    if tensor.dim() == 3:
        tensor = tensor[:, None]
    elif tensor.shape[3] in _IMAGE_CHANNELS:
        tensor = tensor.permute(0, 3, 1, 2)
    return tensor.to(torch.float32, memory_format=torch.contiguous_format).div_(255)


def _check_finite(tensor: Tensor, where: str, name: str) -> None:
    finite = torch.isfinite(tensor)
    if not bool(finite.all()):
        first = int((~finite.reshape(len(tensor), -1)).any(1).nonzero()[0])
        raise DataError(
            f"the {name} of record {first} are not finite", where=where, remedy="remove or fill NaN and infinite values"
        )


def _some(values: list[Any]) -> str:
    shown = ", ".join(str(value) for value in values[:6])
    return f"{shown}, ..., {values[-1]}" if len(values) > 6 else shown
