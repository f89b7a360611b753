"""Records as tensors, and the helpers that every source uses to make them."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ptaudit.errors import DataError
from ptaudit.replay.batch import Inputs, count, leaves, rows, to_device

_IMAGE_CHANNELS = (1, 3, 4)


@dataclass(frozen=True)
class Records:
    """All records of a source, members and held out alike, preprocessed.

    Attributes:
        inputs: (n, ...), float32, or int64 for token ids; or several such tensors in a tuple or a dict.
        targets: (n,) int64 classes or float32 numbers; (n, ...) for several labels or a label per position.
        classes: number of classes for integer targets of shape (n,), else None.
        columns: further columns by name (attributes, user), each (n,), as they stand in the source.
    """

    inputs: Inputs
    targets: Tensor
    classes: int | None
    columns: Mapping[str, NDArray[Any]] = field(default_factory=dict)

    def __len__(self) -> int:
        return count(self.inputs)

    @property
    def nbytes(self) -> int:
        """Bytes of inputs and targets."""
        return sum(tensor.nbytes for tensor in (*leaves(self.inputs), self.targets))

    def digest(self) -> str:
        """SHA-256 over inputs and targets: what a checkpoint or a cache made from these records depends on."""
        text = hashlib.sha256()
        for tensor in (*leaves(self.inputs), self.targets):
            text.update(f"{tensor.dtype}{tuple(tensor.shape)}".encode())
            text.update(np.ascontiguousarray(tensor.cpu().numpy()).view(np.uint8).data)
        return text.hexdigest()

    def batch(self, index: Tensor) -> tuple[Inputs, Tensor]:
        """Inputs and targets of some records, in the order of `index` (int64, on any device)."""
        index = index.to(self.targets.device)
        return rows(self.inputs, index), self.targets[index]

    def to(self, device: torch.device) -> Records:
        """The same records with inputs and targets on a device."""
        return replace(self, inputs=to_device(self.inputs, device), targets=self.targets.to(device))


class Source(Protocol):
    """Where records come from. Reading is done when the source is opened; preprocessing waits for the split."""

    def __len__(self) -> int:
        """How many records there are."""

    def records(self, members: NDArray[np.int64]) -> Records:
        """All records, with whatever the preprocessing learns taken from the members only."""


@dataclass(frozen=True)
class FixedSource:
    """A source whose records do not depend on the split."""

    fixed: Records

    def __len__(self) -> int:
        return len(self.fixed)

    def records(self, members: NDArray[np.int64]) -> Records:
        """All records; nothing is fitted."""
        return self.fixed


def fixed_source(
    inputs: Any,
    targets: Any,
    *,
    where: str,
    limit: int | None,
    classes: int | None = None,
    columns: Mapping[str, NDArray[Any]] | None = None,
) -> FixedSource:
    """A source from arrays or tensors; labels are checked on all records, then the first `limit` are kept.

    Args:
        inputs: (n, ...); `input_tensor` says how types are read.
        targets: (n,) or (n, ...); `target_tensor` says how types are read.
        where: the file or source that errors name.
        limit: how many records to keep; None for all.
        classes: number of classes where the source knows it.
        columns: further columns, each (n,).
    """
    x, (y, classes) = input_tensor(inputs, where), target_tensor(targets, where, classes)
    if len(x) != len(y):
        raise DataError(f"{len(x)} inputs and {len(y)} targets: every record needs both", where=where)
    if len(x) < 2:
        raise DataError(
            f"{len(x)} records are too few", where=where, remedy="a member and a held-out record are the least"
        )
    columns = {name: column[:limit] for name, column in (columns or {}).items()}
    return FixedSource(Records(x[:limit], y[:limit], classes, columns))


def input_tensor(values: Any, where: str) -> Tensor:
    """Inputs as a model takes them.

    uint8 of three or four dimensions are images: (n, h, w), (n, h, w, c) or (n, c, h, w) become float32 (n, c, h, w) in
    [0, 1]. Other uint8, booleans and floats become float32 as they are; wider integers stay integers (token ids).

    Raises:
        DataError: not numbers, no record dimension, or not finite.
    """
    tensor = _as_tensor(values, where, "inputs")
    if tensor.dtype == torch.uint8 and tensor.dim() in (3, 4):
        return _images(tensor)
    if tensor.dtype in (torch.uint8, torch.bool) or tensor.is_floating_point():
        tensor = tensor.to(torch.float32)
        _check_finite(tensor, where, "inputs")
        return tensor.contiguous()
    return tensor.to(torch.int64)


def target_tensor(values: Any, where: str, classes: int | None = None) -> tuple[Tensor, int | None]:
    """Targets as a loss takes them, and the number of classes.

    Integers and booleans of shape (n,) are classes and must be 0..C-1, none missing, unless `classes` is given; floats
    stay numbers.

    Raises:
        DataError: not numbers, not finite, or not classes 0..C-1; the values are named.
    """
    tensor = _as_tensor(values, where, "targets")
    if tensor.is_floating_point():
        tensor = tensor.to(torch.float32)
        _check_finite(tensor, where, "targets")
        return tensor, None
    tensor = tensor.to(torch.int64)
    if tensor.dim() != 1:
        return tensor, None
    found = np.unique(tensor.numpy()).tolist()
    known = len(found) if classes is None else classes
    if found and (found[0] < 0 or found[-1] >= known):  # distinct and below their number: none is missing
        raise DataError(
            f"the labels are {_some(found)}; classes must be 0..C-1 with none missing",
            where=where,
            remedy="map them in a data function (file.py:fn), or give them as float32 if they are measurements",
        )
    return tensor, known


def _as_tensor(values: Any, where: str, name: str) -> Tensor:
    if isinstance(values, Tensor):
        tensor = values.detach().cpu()
    else:
        array = np.asarray(values)
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
        tensor = torch.from_numpy(np.ascontiguousarray(array).copy())
    if tensor.dim() == 0 or tensor.is_complex():
        raise DataError(
            f"the {name} are {tensor.dtype} of shape {tuple(tensor.shape)}, not one entry per record", where=where
        )
    return tensor


def _images(tensor: Tensor) -> Tensor:
    if tensor.dim() == 3:
        tensor = tensor[:, None]
    elif tensor.shape[3] in _IMAGE_CHANNELS:
        tensor = tensor.permute(0, 3, 1, 2)
    return tensor.to(torch.float32).div_(255).contiguous()


def _check_finite(tensor: Tensor, where: str, name: str) -> None:
    if not bool(torch.isfinite(tensor).all()):
        first = int((~torch.isfinite(tensor.flatten(1) if tensor.dim() > 1 else tensor[:, None])).any(1).nonzero()[0])
        raise DataError(
            f"the {name} of record {first} are not finite", where=where, remedy="remove or fill NaN and infinite values"
        )


def _some(values: list[Any]) -> str:
    shown = ", ".join(str(value) for value in values[:6])
    return f"{shown}, ..., {values[-1]}" if len(values) > 6 else shown


def standardised(values: NDArray[np.float64], members: NDArray[np.int64]) -> NDArray[np.float64]:
    """Columns (n, d) with the members' mean 0 and variance 1; a column constant among the members is only centred."""
    scale = values[members].std(axis=0)
    scale[scale == 0] = 1.0
    return np.asarray((values - values[members].mean(axis=0)) / scale)
