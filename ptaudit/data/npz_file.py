"""`npz:PATH`: arrays saved by `numpy.savez`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ptaudit.archives import open_npz
from ptaudit.data.labels import stated_targets
from ptaudit.data.records import Labels, Source, fixed_source, kept_columns
from ptaudit.errors import DataError, PtauditError, listed

if TYPE_CHECKING:
    from ptaudit.spec.model import DataSpec

INPUT_NAMES = ("x", "images", "inputs", "data")
_NAMED = 12
TARGET_NAMES = ("y", "labels", "targets", "label")


def open_source(data: DataSpec) -> Source:
    """Open an archive with an array of inputs, one of targets, and further ones for attributes and user.

    `args` may name inputs and targets.
    """
    path = Path(data.source.partition(":")[2])
    if not path.is_file():
        raise DataError("no such file", where=str(path), remedy="check data.source, or fetch the file to this place")
    try:
        with open_npz(path) as archive:
            inputs = archive[_name(archive, data.args.get("inputs"), INPUT_NAMES, path)]
            targets = archive[_name(archive, data.args.get("targets"), TARGET_NAMES, path)]
            columns = kept_columns(data, archive, str(path))
    except PtauditError:
        raise
    except Exception as error:  # of a damaged archive, numpy and zipfile raise whatever they stumble over
        raise DataError(
            f"not a readable npz archive: {error}",
            where=str(path),
            remedy="write it with numpy.savez(FILE, x=..., y=...)",
        ) from error
    labels = Labels(stated_targets(targets, data, str(path)), data.classes)
    return fixed_source(inputs, labels, where=str(path), limit=data.limit, columns=columns)


def _name(archive: Any, name: object, usual: Sequence[str], path: Path) -> str:
    for candidate in usual if name is None else (str(name),):
        if candidate in archive:
            return candidate
    wanted = " or ".join(usual) if name is None else name
    key = "inputs" if usual is INPUT_NAMES else "targets"
    remedy = f"name it in data.args.{key}"
    if all(there.startswith("arr_") for there in archive):  # as numpy calls what is given without a name
        remedy += "; if these are weights of a model, as Flower saves them, they belong into replay.checkpoints"
    raise DataError(
        f"no array {wanted}; the file has {listed(list(archive), _NAMED) or 'none'}", where=str(path), remedy=remedy
    )
