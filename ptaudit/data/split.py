"""Which records the model is trained on, and which it never sees."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ptaudit.archives import read_npy
from ptaudit.errors import DataError

if TYPE_CHECKING:
    from ptaudit.spec.model import DataSpec


@dataclass(frozen=True)
class Split:
    """Members (trained on) and held-out records, as indices into the source.

    A seeded split keeps the shuffled order, so that the first k members are a random sample of the members.
    """

    members: NDArray[np.int64]
    held_out: NDArray[np.int64]

    def digest(self) -> str:
        """SHA-256 over both index lists: equal digests mean the same members and held-out records in the same order."""
        text = hashlib.sha256(f"{len(self.members)},{len(self.held_out)};".encode())
        for index in (self.members, self.held_out):
            text.update(index.astype("<i8").tobytes())
        return text.hexdigest()


def make_split(n: int, data: DataSpec, columns: Mapping[str, NDArray[Any]] = MappingProxyType({})) -> Split:
    """Split n records by a seed, or by index files.

    With `members` alone, all other records are held out, shuffled by the seed. With `split_by`, records of equal value
    in that column stay together, and the share held out is as near to `held_out` as whole groups allow.

    Args:
        n: number of records in the source.
        data: `held_out` is the fraction held out, `seed` the seed of the permutation; `members` and `non_members`
            are files of record indices (`.npy`, or text with one integer a line).
        columns: the columns of the source, (n,) each; the one that `split_by` names is among them.

    Raises:
        DataError: an index file is missing or malformed, names a record twice or out of range, the two overlap, or a
            side is empty.
    """
    shuffled = np.random.default_rng(data.seed).permutation(n).astype(np.int64)
    if data.split_by is not None:
        chosen = _held_out_groups(columns[data.split_by], data)[shuffled]
        members, held_out = shuffled[~chosen], shuffled[chosen]
    elif data.members is None and data.non_members is not None:
        held_out = _read_index(data.non_members, n)
        members = shuffled[~np.isin(shuffled, held_out)]
    elif data.members is None:
        count = round(n * data.held_out)
        members, held_out = shuffled[count:], shuffled[:count]
    else:
        members = _read_index(data.members, n)
        held_out = shuffled[~np.isin(shuffled, members)]
        if data.non_members is not None:
            held_out = _read_index(data.non_members, n)
            _check_disjoint(members, held_out, data)
    for name, side in (("member", members), ("held-out record", held_out)):
        if len(side) == 0:
            raise DataError(
                f"the split of {n} records leaves no {name}",
                where="data",
                remedy="change data.held_out or the index files",
            )
    return Split(members, held_out)


def _held_out_groups(values: NDArray[Any], data: DataSpec) -> NDArray[np.bool_]:
    """Which records belong to a group that is held out: groups in random order, until enough records are."""
    _, group = np.unique(values, return_inverse=True)
    sizes = np.bincount(group)
    if len(sizes) < 2:
        raise DataError(
            f"all records have the same value in column {data.split_by!r}",
            where="data.split_by",
            remedy="name a column with several values, or remove it",
        )
    order = np.random.default_rng(data.seed).permutation(len(sizes))
    after = np.cumsum(sizes[order])[:-1]  # records held out with the first 1, 2, ... groups; one group is left
    count = 1 + int(np.argmin(np.abs(after - len(values) * data.held_out)))
    return np.isin(group, order[:count])


def _check_disjoint(members: NDArray[np.int64], held_out: NDArray[np.int64], data: DataSpec) -> None:
    both = np.intersect1d(members, held_out)
    if len(both):
        raise DataError(
            f"{len(both)} records are also in {data.members} (the first is {both[0]})",
            where=str(data.non_members),
            remedy="a record is a member or held out, not both",
        )


def _read_index(path: Path, n: int) -> NDArray[np.int64]:
    """Read record indices from `.npy` or from text with one integer a line."""
    if not path.is_file():
        raise DataError("no such index file", where=str(path), remedy="check data.members and data.non_members")
    index = _read_npy(path) if path.suffix == ".npy" else _read_lines(path)
    if len(index) == 0:
        raise DataError("the index file is empty", where=str(path))
    wrong = index[(index < 0) | (index >= n)]
    if len(wrong):
        raise DataError(f"index {wrong[0]} is out of range: the data have {n} records, 0..{n - 1}", where=str(path))
    values, counts = np.unique(index, return_counts=True)
    if len(values) < len(index):
        raise DataError(f"index {values[counts > 1][0]} is listed more than once", where=str(path))
    return index


def _read_npy(path: Path) -> NDArray[np.int64]:
    try:
        index = read_npy(path)
    except Exception as error:  # of a damaged file, numpy raises whatever it stumbles over
        raise DataError(f"not a readable .npy file: {error}", where=str(path)) from error
    if index.ndim != 1 or not np.issubdtype(index.dtype, np.integer):
        raise DataError("record indices are a one-dimensional array of integers", where=str(path))
    return index.astype(np.int64)


def _read_lines(path: Path) -> NDArray[np.int64]:
    numbers = []
    for number, line in enumerate(path.read_text(encoding="utf-8", errors="replace").splitlines(), start=1):
        if not line.strip():
            continue
        try:
            numbers.append(np.int64(int(line)))
        except (ValueError, OverflowError):
            raise DataError(
                f"{line.strip()!r} is not a record index", where=f"{path}:{number}", remedy="one integer a line"
            ) from None
    return np.array(numbers, dtype=np.int64)
