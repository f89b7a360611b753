"""`folder:PATH`: picture files, in a folder for each class or named by a table."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ptaudit.data.csv_file import read_csv
from ptaudit.data.kinds import column_values
from ptaudit.data.labels import class_codes
from ptaudit.data.pictures import asked_size, read_pictures
from ptaudit.data.records import Labels, Source, check_column, check_enough, fixed_source, kept_columns
from ptaudit.errors import DataError

if TYPE_CHECKING:
    from ptaudit.spec.model import DataSpec

SUFFIXES = (".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp")
"""What counts as a picture; the same as in torchvision's `ImageFolder`."""


def open_source(data: DataSpec) -> Source:
    """Decode the pictures as float32 (n, c, h, w) in [0, 1].

    Without a table, folders are classes and records come in the order of torchvision's `ImageFolder`. With one, its
    lines are the records, in their order; the class is the column `label`, or else the folder of the file.
    """
    root = Path(data.source.partition(":")[2])
    if not root.is_dir():
        raise DataError("no such folder", where=str(root), remedy="check data.source, or fetch the pictures there")
    listed = _class_folders(root, data.limit) if data.table is None else _listed(root, data.table, data)
    pictures = read_pictures(listed.paths, asked_size(data), data.grayscale)
    return fixed_source(pictures, listed.labels, where=str(root), columns=listed.columns)


_PARTS = frozenset({"train", "training", "test", "testing", "val", "valid", "validation", "dev", "eval"})
"""Names of folders that hold parts of a data set."""


@dataclass(frozen=True)
class _Listing:
    """The picture files, and what is known of each."""

    paths: list[Path]
    labels: Labels
    columns: Mapping[str, NDArray[Any]]


def _class_folders(root: Path, limit: int | None) -> _Listing:
    names = sorted(entry.name for entry in os.scandir(root) if entry.is_dir() and not entry.name.startswith("."))
    if not names:
        raise DataError(
            "the folder has no class folders",
            where=str(root),
            remedy="put the pictures of each class into a folder of its own, or name a table in data.table",
        )
    _check_classes(names, root)
    paths: list[Path] = []
    codes: list[int] = []
    turns: list[int] = []  # the how-manieth of its class a picture is
    for code, name in enumerate(names):
        found = _pictures_in(root / name)
        paths += found
        codes += [code] * len(found)
        turns += range(len(found))
    if limit is not None:
        # The first of each class, then the second of each: the first records alone would be of one class.
        chosen = sorted(np.lexsort((codes, turns))[:limit])
        paths, codes = [paths[place] for place in chosen], [codes[place] for place in chosen]
    return _Listing(paths, Labels(np.array(codes, np.int64), len(names), tuple(names)), {})


def _check_classes(names: Sequence[str], root: Path) -> None:
    if len(names) > 1 and _PARTS.issuperset(name.lower() for name in names):
        raise DataError(
            f"the folders {', '.join(names)} are parts of a data set, not classes",
            where=str(root),
            remedy=f"name one of them, for example folder:{root / names[-1]}; it is split by ptaudit itself",
        )


def _pictures_in(folder: Path) -> list[Path]:
    found = [
        Path(place, name)
        for place, _, names in sorted(os.walk(folder, followlinks=True))
        for name in sorted(names)
        if name.lower().endswith(SUFFIXES)
    ]
    if not found:
        raise DataError(
            f"the class folder has no pictures ({', '.join(SUFFIXES)})",
            where=str(folder),
            remedy="remove it, or fill it",
        )
    return found


def _listed(root: Path, table: Path, data: DataSpec) -> _Listing:
    frame, where = _read_table(table, data.limit), str(table)
    check_enough(len(frame), where)
    files = column_values(frame.iloc[:, 0], where).astype(str)
    paths = [root / name for name in files.tolist()]
    if data.label is not None:
        check_column(data.label, "label", frame.columns, where)
        labels = class_codes(frame[data.label], where)
    else:
        labels = class_codes(_folders(files, where), where)
    kept = kept_columns(data, {name: frame[name] for name in frame.columns}, where)
    return _Listing(paths, labels, {name: column_values(column, where) for name, column in kept.items()})


def _folders(files: NDArray[np.str_], where: str) -> pd.Series[Any]:
    folders = pd.Series([Path(name).parts[0] if len(Path(name).parts) > 1 else None for name in files], name="folder")
    if folders.isna().any():
        raise DataError(
            f"the file {files[int(folders.isna().argmax())]} is in no class folder",
            where=where,
            remedy="name the column with the classes in data.label",
        )
    return folders


def _read_table(path: Path, limit: int | None) -> pd.DataFrame:
    """A CSV file; or the text of CelebA: number of lines, names of the attributes, then file and -1 or 1 each."""
    if path.suffix != ".txt":
        return read_csv(path, "data.table", limit=limit)
    with path.open(encoding="utf-8", errors="replace") as file:
        lines, names = file.readline().strip(), file.readline().split()
    if not lines.isdigit() or not names:
        raise DataError(
            "not in the layout of CelebA's list_attr_celeba.txt",
            where=str(path),
            remedy="the first line is the number of lines, the second the attributes; any other table is a csv file",
        )
    return read_csv(path, "data.table", limit=limit, sep=r"\s+", skiprows=2, header=None, names=["file", *names])
