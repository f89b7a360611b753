"""`torchvision:NAME`: any set of `torchvision.datasets`, from a local root unless a download is asked for."""

from __future__ import annotations

import difflib
import inspect
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import Tensor

from ptaudit.data.items import read_items
from ptaudit.data.pictures import adjusted, asked_size, picture_array, read_pictures
from ptaudit.data.records import FixedSource, Labels, Source, check_column, fixed_source, kept_columns
from ptaudit.errors import DataError

if TYPE_CHECKING:
    from ptaudit.spec.model import DataSpec

_BY_FUNCTION = "open it in a data function (file.py:fn)"


def open_source(data: DataSpec) -> Source:
    """Open one part of a set; pictures become float32 (n, c, h, w) in [0, 1], in the size and colours asked for.

    The faces of CelebA have 40 attributes: `label` is one of them (or `identity`), `attributes` are others, and
    `identity` may be the user.
    """
    kind = _dataset_class(data.source.partition(":")[2])
    dataset = _open(kind, data)
    if kind.__name__ == "CelebA":
        return _faces(dataset, data)
    classes = getattr(dataset, "classes", None)
    names = tuple(map(str, classes)) if isinstance(classes, list | tuple) else ()
    pixels = getattr(dataset, "data", None)
    labels = getattr(dataset, "targets", getattr(dataset, "labels", None))
    if pixels is None or labels is None or getattr(pixels, "ndim", 0) < 3:
        inputs, targets = _items(dataset, data)
        return fixed_source(inputs, Labels(targets, len(names) or None, names), where=data.source)
    # Cut before the conversion to float: the whole of a large set need not fit four times.
    first = Labels(labels[: data.limit], len(names) or None, names)
    return _adjusted(fixed_source(pixels[: data.limit], first, where=data.source), data)


def _items(dataset: Any, data: DataSpec) -> tuple[Any, Any]:
    """Inputs and targets of a set that is read item by item, without the further columns that no set has."""
    size = asked_size(data)
    if size is None and not data.grayscale:
        found = read_items(dataset, data.limit, data.source)
    else:
        found = read_items(dataset, data.limit, data.source, lambda image: picture_array(image, size, data.grayscale))
    if isinstance(found, dict) or len(found) != 2:
        raise DataError("its items are not pairs (input, target)", where=data.source, remedy=_BY_FUNCTION)
    return found[0], found[1]


def _adjusted(source: FixedSource, data: DataSpec) -> Source:
    size, inputs = asked_size(data), source.fixed.inputs
    if size is None and not data.grayscale:
        return source
    if not isinstance(inputs, Tensor) or inputs.dim() != 4:
        key = "resize" if size else "grayscale"
        raise DataError(f"data.{key} is for pictures; {data.source} has none", where="data", remedy="remove it")
    return FixedSource(replace(source.fixed, inputs=adjusted(inputs, size, data.grayscale)))


def _faces(dataset: Any, data: DataSpec) -> Source:
    """CelebA: what torchvision has read of the lists, and the pictures decoded in parallel."""
    names = [name for name in dataset.attr_names if name]
    columns = {name: dataset.attr[:, place].numpy() for place, name in enumerate(names)}
    columns["identity"] = dataset.identity[:, 0].numpy()
    check_column(str(data.label), "label", columns, data.source)
    _, targets = np.unique(columns[str(data.label)][: data.limit], return_inverse=True)
    kept = {name: column[: data.limit] for name, column in kept_columns(data, columns, data.source).items()}
    folder = Path(dataset.root, dataset.base_folder, "img_align_celeba")
    paths = [folder / name for name in dataset.filename[: data.limit]]
    pictures = read_pictures(paths, asked_size(data), data.grayscale)
    return fixed_source(pictures, Labels(targets), where=data.source, columns=kept)


def _dataset_class(name: str) -> Any:
    from torchvision import datasets

    kind = getattr(datasets, name, None)
    if not inspect.isclass(kind):
        close = difflib.get_close_matches(name, datasets.__all__, n=1, cutoff=0.5)
        raise DataError(
            f"torchvision.datasets has no {name!r}",
            where="data.source",
            remedy=f"did you mean {close[0]}?" if close else None,
        )
    return kind


def _open(kind: Any, data: DataSpec) -> Any:
    if data.root is None:
        raise DataError(f"{kind.__name__} needs a folder to be read from", where="data.root", remedy="set data.root")
    known = inspect.signature(kind).parameters
    arguments: dict[str, Any] = {"root": str(data.root)}
    if "train" in known:
        arguments["train"] = data.part == "train"
    elif "split" in known:
        arguments["split"] = data.part
    if "download" in known:
        arguments["download"] = data.download
    try:
        return kind(**arguments)
    except (RuntimeError, OSError) as error:
        raise _not_found(kind, data, error) from error
    except Exception as error:
        raise DataError(
            f"{kind.__name__} cannot be opened with {', '.join(arguments)} alone: {error}",
            where="data.source",
            remedy=_BY_FUNCTION,
        ) from error


def _not_found(kind: Any, data: DataSpec, error: Exception) -> DataError:
    root = Path(str(data.root))
    inner = getattr(kind, "base_folder", None)
    folder = (
        root / inner if isinstance(inner, str) else root / kind.__name__ / "raw" if hasattr(kind, "resources") else root
    )
    if data.download:
        return DataError(f"{kind.__name__} could not be fetched: {error}", where=str(folder))
    links = [*getattr(kind, "mirrors", []), getattr(kind, "url", None)]
    source = next((link for link in links if isinstance(link, str)), "the set's home page")
    return DataError(
        f"{kind.__name__} was not found here ({str(error).splitlines()[0]})",
        where=str(folder),
        remedy=f"put its unpacked files there (from {source}), or set data.download: true",
    )
