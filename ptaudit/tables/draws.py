"""`bootstrap.npz`: the resamples of a table's rows, of which only those that are asked for are read."""

from __future__ import annotations

import io
import zipfile
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from ptaudit.archives import open_npz
from ptaudit.errors import RunFolderError
from ptaudit.tables.columns import Array, Places
from ptaudit.tables.digests import digest, digest_of
from ptaudit.tables.table import AT_ONCE, Draws, Table

_REMEDY = "delete it: intervals remain"


def draws_bytes(rows: Table, leakage: str) -> bytes:
    """The draws as npz: float32 (rows with draws, B), which rows those are, and the hash of their table."""
    found = rows.draws or Draws(np.full(len(rows), -1), 0, lambda places: np.empty((0, 0)))
    index = np.flatnonzero(found.places >= 0)
    draws = np.empty((len(index), found.size), dtype=np.float32)
    for start in range(0, len(index), AT_ONCE):
        some = slice(start, start + AT_ONCE)
        draws[some] = found.read(found.places[index[some]])
    buffer = io.BytesIO()
    np.savez(buffer, draws=draws, rows=index.astype(np.int64), table=np.array(digest_of(leakage)))
    return buffer.getvalue()


def with_draws(rows: Table, path: Path, leakage: Path) -> Table:
    """The table with its draws, if the file is there.

    Raises:
        RunFolderError: the file is damaged, or of another table.
    """
    if not path.is_file():
        return rows
    try:
        with open_npz(path) as stored:
            index, table = stored["rows"], str(stored["table"])
        draws = _mapped(path, "draws.npy")
        places = np.full(len(rows), -1)
        places[index] = np.arange(len(draws))
    except Exception as error:  # a damaged file can fail in any way
        raise RunFolderError("damaged file", where=str(path), remedy=_REMEDY) from error
    if table != digest(leakage):
        raise RunFolderError(f"belongs to another {leakage.name}", where=str(path), remedy=_REMEDY)
    return Table(rows.columns, Draws(places, draws.shape[1], partial(_read, draws)))


def _read(draws: NDArray[Any], places: Places) -> Array:
    return np.asarray(draws[places], dtype=np.float64)


def _mapped(path: Path, name: str) -> NDArray[Any]:
    """A two-dimensional array of an npz file in its place on the disk, read through once to know that it is whole."""
    with zipfile.ZipFile(path) as archive, archive.open(name) as member:
        npy.read_magic(member)
        shape, fortran, kind = npy.read_array_header_1_0(member)
        head = member.tell()
        for _ in iter(partial(member.read, 1 << 20), b""):
            pass  # its end compares the checksum
        entry = archive.getinfo(name)
        start = entry.header_offset
    with path.open("rb") as file:
        file.seek(start + 26)
        start += 30 + sum(np.frombuffer(file.read(4), dtype="<u2").tolist()) + head
    if fortran or kind.kind != "f" or len(shape) != 2 or entry.compress_type != zipfile.ZIP_STORED:
        raise ValueError("not as np.savez writes it")
    return np.memmap(path, dtype=kind, mode="r", offset=start, shape=shape) if 0 not in shape else np.empty(shape)
