"""npz archives and npy files from elsewhere: looked at before anything of them is unpacked."""

from __future__ import annotations

import math
import os
import stat
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from numpy.lib import format as npy
from numpy.typing import NDArray

MOST_ARRAYS = 10_000
"""More arrays than any archive of data has."""


@contextmanager
def open_npz(path: Path) -> Iterator[Mapping[str, NDArray[Any]]]:
    """The arrays of an archive by name, each read when asked for.

    Raises:
        ValueError: no archive of arrays; too many of them, or one that holds objects, or is not as large as it says, or
            does not fit into the memory of this machine.
        Exception: of any other kind, where the file is damaged.
    """
    check_regular(path)
    if not zipfile.is_zipfile(path):
        with path.open("rb") as file:
            single = file.read(6) == npy.MAGIC_PREFIX
        raise ValueError("it holds a single array" if single else "it is no archive")
    with zipfile.ZipFile(path) as archive:
        members = archive.infolist()
        if len(members) > MOST_ARRAYS:
            raise ValueError(f"it has {len(members):,} arrays (at most {MOST_ARRAYS:,})")
        check_sizes(archive, path)
        yield _Arrays(archive)


def check_regular(path: Path) -> None:
    """Refuse a pipe or a device, which is waited for without end.

    Raises:
        ValueError: it is one.
        OSError: there is none.
    """
    mode = path.stat().st_mode
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        raise ValueError("it is a pipe or a device")


def check_sizes(archive: zipfile.ZipFile, path: Path) -> None:
    """Refuse an archive whose members share the same bytes, as those do that unpack without end.

    Raises:
        ValueError: it is one.
    """
    if sum(member.compress_size for member in archive.infolist()) > path.stat().st_size:
        raise ValueError("its members overlap")


def read_npy(path: Path) -> NDArray[Any]:
    """The array of a file.

    Raises:
        ValueError: no array, or one that holds objects, or is not as large as it says.
    """
    check_regular(path)
    with path.open("rb") as file:
        _check(file, path.stat().st_size)
    with path.open("rb") as file:
        return npy.read_array(file, allow_pickle=False)


class _Arrays(Mapping[str, NDArray[Any]]):
    def __init__(self, archive: zipfile.ZipFile) -> None:
        self._archive = archive
        names = [name for name in archive.namelist() if name.endswith(".npy")]
        self._members = {name.removesuffix(".npy"): name for name in names}

    def __getitem__(self, name: str) -> NDArray[Any]:
        member = self._archive.getinfo(self._members[name])
        try:
            with self._archive.open(member) as file:
                _check(file, member.file_size)
        except ValueError as error:
            raise ValueError(f"array {name}: {error}") from error
        with self._archive.open(member) as file:
            return npy.read_array(file, allow_pickle=False)

    def __contains__(self, name: object) -> bool:
        return name in self._members  # without reading it

    def __iter__(self) -> Iterator[str]:
        return iter(self._members)

    def __len__(self) -> int:
        return len(self._members)


def _check(file: IO[bytes], size: int) -> None:
    """Hold what the header of an array declares against the bytes that follow it."""
    version = npy.read_magic(file)
    read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
    shape, _, dtype = read(file)
    if dtype.hasobject:
        raise ValueError("it holds Python objects, which are never unpickled: save numbers or text (astype(float))")
    declared, there = math.prod(shape) * dtype.itemsize, size - file.tell()
    if declared != there:
        raise ValueError(f"it declares {declared:,} bytes, there are {there:,}")
    if declared > installed_memory():
        raise ValueError(f"it takes {declared:,} bytes, more than the memory of this machine")


def installed_memory() -> int:
    """Bytes of memory that this machine has."""
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
