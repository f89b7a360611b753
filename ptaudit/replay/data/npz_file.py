"""`npz:PATH`: arrays saved by `numpy.savez`."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ptaudit.errors import DataError
from ptaudit.replay.data.records import Source, fixed_source

if TYPE_CHECKING:
    from ptaudit.spec.model import DataSpec

INPUT_NAMES = ("x", "images", "inputs", "data")
TARGET_NAMES = ("y", "labels", "targets", "label")


def open_source(data: DataSpec) -> Source:
    """Open an archive with one array of inputs and one of targets; `args` may name them."""
    path = Path(data.source.partition(":")[2])
    if not path.is_file():
        raise DataError("no such file", where=str(path), remedy="check data.source, or fetch the file to this place")
    try:
        archive = np.load(path, allow_pickle=False)
        if not isinstance(archive, np.lib.npyio.NpzFile):
            raise ValueError("it holds a single array")
        with archive:
            inputs = _array(archive, data.args.get("inputs"), INPUT_NAMES, path)
            targets = _array(archive, data.args.get("targets"), TARGET_NAMES, path)
    except (ValueError, OSError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise DataError(f"not a readable npz archive: {error}", where=str(path)) from error
    return fixed_source(inputs, targets, where=str(path), limit=data.limit)


def _array(archive: Any, name: object, usual: Sequence[str], path: Path) -> NDArray[Any]:
    for candidate in usual if name is None else (name,):
        if candidate in archive:
            return np.asarray(archive[candidate])
    wanted = " or ".join(usual) if name is None else name
    key = "inputs" if usual is INPUT_NAMES else "targets"
    raise DataError(
        f"no array {wanted}; the file has {', '.join(archive) or 'none'}",
        where=str(path),
        remedy=f"name it in data.args.{key}",
    )
