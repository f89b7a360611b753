"""Data sources: one file each, one line each in the registry.

A source turns what the spec names into `Records`: float tensors and targets, members and held-out records alike.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from ptaudit.data import bundled, csv_file, folder, function, npz_file, parquet_file, vision
from ptaudit.data.records import Records, Source

if TYPE_CHECKING:
    from ptaudit.spec.model import DataSpec

__all__ = ["SOURCES", "Records", "Source", "open_source"]

SOURCES: dict[str, Callable[[DataSpec], Source]] = {
    "sklearn": bundled.open_source,
    "torchvision": vision.open_source,
    "csv": csv_file.open_source,
    "parquet": parquet_file.open_source,
    "npz": npz_file.open_source,
    "folder": folder.open_source,
}
"""Scheme of `data.source` to what opens it; anything else is a data function."""


def open_source(data: DataSpec) -> Source:
    """Open the source of the spec: read its files and check its labels.

    Raises:
        DataError: a file is missing or malformed, or labels are not what a loss can take; the message names the place.
    """
    scheme = data.source.partition(":")[0]
    return SOURCES.get(scheme, function.open_source)(data)
