"""`torchvision:NAME`: any set of `torchvision.datasets`, from a local root unless a download is asked for."""

from __future__ import annotations

import difflib
import inspect
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ptaudit.errors import DataError
from ptaudit.replay.data.function import stacked_items
from ptaudit.replay.data.records import Source, fixed_source

if TYPE_CHECKING:
    from ptaudit.spec.model import DataSpec


def open_source(data: DataSpec) -> Source:
    """Open one part of a set; pixels become float32 (n, c, h, w) in [0, 1], no transform is applied."""
    kind = _dataset_class(data.source.partition(":")[2])
    dataset = _open(kind, data)
    classes = getattr(dataset, "classes", None)
    count = len(classes) if isinstance(classes, list | tuple) else None
    pixels = getattr(dataset, "data", None)
    labels = getattr(dataset, "targets", getattr(dataset, "labels", None))
    if pixels is None or labels is None or getattr(pixels, "ndim", 0) < 3:
        inputs, targets = stacked_items(dataset, data.limit, data.source)
        return fixed_source(inputs, targets, where=data.source, limit=None, classes=count)
    # Cut before the conversion to float: the whole of a large set need not fit four times.
    return fixed_source(pixels[: data.limit], labels[: data.limit], where=data.source, limit=None, classes=count)


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
            remedy="open it in a data function (file.py:fn)",
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
