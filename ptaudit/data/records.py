"""Records as tensors, and the source that has them ready."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ptaudit.data.tensors import column_array, has_mask, input_tensors, target_tensor
from ptaudit.errors import DataError
from ptaudit.model_input import Inputs, count, leaves, rows, to_device
from ptaudit.spec.base import nearest

if TYPE_CHECKING:
    from ptaudit.data.preprocess import Preprocessing
    from ptaudit.spec.model import DataSpec


@dataclass(frozen=True)
class Field:
    """An input column with few values, and how each value is encoded: what it takes to ask "what if".

    Attributes:
        name: of the column.
        start: its first place among the inputs.
        codes: value of each record, `(n,)`, int64; -1 where it is missing.
        levels: how the inputs encode each value, `(A, width)`.
        names: what the values are called.
    """

    name: str
    start: int
    codes: NDArray[np.int64]
    levels: Tensor
    names: tuple[str, ...]

    @property
    def places(self) -> slice:
        """Its places among the inputs."""
        return slice(self.start, self.start + self.levels.shape[1])


@dataclass(frozen=True)
class ColumnUse:
    """A column of a table, and what it is used for.

    Attributes:
        name: of the column.
        kind: what it holds; empty where nobody read it.
        levels: how many different categories it holds; None where it holds none, or nobody counted.
        missing: how many entries are missing; None where nobody counted.
        roles: `input`, `label`, `attribute`, `user`, `split by` or `drop`.
        places: its places among the inputs.
    """

    name: str
    kind: str
    levels: int | None
    missing: int | None
    roles: tuple[str, ...]
    places: slice | None = None


@dataclass(frozen=True)
class Records:
    """All records of a source, members and held out alike, preprocessed.

    Attributes:
        inputs: (n, ...), float32, or int64 for token ids; or several such tensors in a tuple or a dict, where masks
            are bool.
        targets: (n,) int64 classes or float32 numbers; (n, ...) for several labels or a label per position.
        classes: number of classes for integer targets of shape (n,), else None.
        columns: further columns by name (attributes, user), each (n,), as they stand in the source.
        fields: input columns with few values, by name; tables have them.
        class_names: what the classes are called, in the order of their codes; empty where nobody knows.
        uses: all columns of a table, whatever became of them.
        preprocessing: how the columns of a table became inputs.
    """

    inputs: Inputs
    targets: Tensor
    classes: int | None
    columns: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    fields: Mapping[str, Field] = field(default_factory=dict)
    class_names: tuple[str, ...] = ()
    uses: tuple[ColumnUse, ...] = ()
    preprocessing: Preprocessing = field(default_factory=dict)

    def __len__(self) -> int:
        return count(self.inputs)

    def with_level(self, index: Tensor, name: str, level: int) -> Tensor:
        """Inputs of some records as they would be with another value of a field, `(len(index), d)`."""
        assert isinstance(self.inputs, Tensor)
        given = self.fields[name]
        inputs = self.inputs[index.to(self.inputs.device)].clone()
        inputs[:, given.places] = given.levels[level].to(inputs)
        return inputs

    @property
    def nbytes(self) -> int:
        """Bytes of inputs and targets."""
        return sum(tensor.nbytes for tensor in (*leaves(self.inputs), self.targets))

    def digest(self, purpose: str = "") -> str:
        """SHA-256 over inputs, targets and columns: what a checkpoint or a cache made from these records depends on.

        For another purpose another one, which nobody can compute who does not have the records.
        """
        text = hashlib.sha256(purpose.encode())
        tensors = [tensor.cpu().numpy() for tensor in (*leaves(self.inputs), self.targets)]
        names = list(self.inputs) if isinstance(self.inputs, dict) else []
        for array in (*tensors, *self.columns.values()):
            text.update(f"{array.dtype.str}{array.shape}".encode())
            text.update(np.ascontiguousarray(array).view(np.uint8).data)
        text.update(repr([*names, *self.columns]).encode())
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

    @property
    def columns(self) -> Mapping[str, NDArray[Any]]:
        """The columns that the spec names beside inputs and targets: known before the split, which may go by one."""

    def records(self, members: NDArray[np.int64]) -> Records:
        """All records, with whatever the preprocessing learns taken from the members only."""


@dataclass(frozen=True)
class FixedSource:
    """A source whose records do not depend on the split."""

    fixed: Records

    def __len__(self) -> int:
        return len(self.fixed)

    @property
    def columns(self) -> Mapping[str, NDArray[Any]]:
        """Attributes and user."""
        return self.fixed.columns

    def records(self, members: NDArray[np.int64]) -> Records:
        """All records; nothing is fitted."""
        return self.fixed


@dataclass(frozen=True)
class Labels:
    """The targets of all records.

    Attributes:
        targets: (n,) codes of classes, or numbers (n, ...); `target_tensor` says how types are read.
        classes: number of classes; None for numbers, or where the source does not know it.
        names: what the classes are called, in the order of their codes; empty for numbers, and where nobody knows.
    """

    targets: Any
    classes: int | None = None
    names: tuple[str, ...] = ()


def fixed_source(
    inputs: Any, labels: Labels, *, where: str, limit: int | None = None, columns: Mapping[str, Any] | None = None
) -> FixedSource:
    """A source from arrays or tensors; labels are checked on all records, then the first `limit` are kept.

    Args:
        inputs: (n, ...), or several in a tuple or a dict; `input_tensors` says how types are read.
        labels: of all of them.
        where: the file or source that errors name.
        limit: how many records to keep; None for all.
        columns: further columns, each (n,).
    """
    x = input_tensors(inputs, where)
    y, classes = target_tensor(labels.targets, where, labels.classes, pad=has_mask(inputs))
    n = count(x)
    if n != len(y):
        raise DataError(f"{n} inputs and {len(y)} targets: every record needs both", where=where)
    check_enough(n, where)
    arrays = {name: column_array(column, name, n, where) for name, column in (columns or {}).items()}
    if limit is not None:
        x, y, arrays = rows(x, slice(limit)), y[:limit], {name: array[:limit] for name, array in arrays.items()}
    return FixedSource(Records(x, y, classes, arrays, class_names=labels.names))


def check_enough(n: int, where: str) -> None:
    """Refuse a source that cannot be split."""
    if n < 2:
        raise DataError(f"{n} records are too few", where=where, remedy="a member and a held-out record are the least")


def kept_columns(data: DataSpec, available: Mapping[str, Any], where: str) -> dict[str, Any]:
    """The columns that `attributes`, `user` and `split_by` name, as they stand.

    Raises:
        DataError: one of them is not there.
    """
    for key, names in data.columns.items():
        for name in names:
            check_column(name, key, available, where)
    return {name: available[name] for names in data.columns.values() for name in names}


def check_names(names: Iterable[Any], where: str) -> None:
    """Refuse columns of one name, all at once."""
    twice = [f"{name!r}" for name, times in Counter(map(str, names)).items() if times > 1]
    if twice:
        raise DataError(
            f"more than one column is called {', '.join(twice)}",
            where=where,
            remedy="give each column a name of its own: nobody could tell which one is meant",
        )


def check_column(name: str, key: str, available: Iterable[str], where: str) -> None:
    """Refuse a name in `data.KEY` that is not among the columns; the nearest or the first few are named."""
    available = [str(column) for column in available]
    if name not in available:
        remedy = nearest(name, available).replace("`", "'")
        if remedy.startswith("known: "):
            more = ", ..." if len(available) > 12 else ""
            remedy = f"columns: {', '.join(available[:12])}{more}" if available else "there are no columns"
        raise DataError(f"no column {name!r} (data.{key})", where=where, remedy=remedy)
