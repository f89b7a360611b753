"""`sklearn:NAME`: the sets that come with scikit-learn; nothing is downloaded."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn import datasets

from ptaudit.errors import DataError
from ptaudit.replay.data.records import Records, Source, fixed_source
from ptaudit.replay.data.table import standardised

if TYPE_CHECKING:
    from ptaudit.spec.model import DataSpec

_TABLES = {"iris": datasets.load_iris, "wine": datasets.load_wine, "breast_cancer": datasets.load_breast_cancer}


@dataclass(frozen=True)
class TableSource:
    """Measurements (n, d), standardised on the members."""

    values: NDArray[np.float64]
    labels: NDArray[np.int64]
    classes: int

    def __len__(self) -> int:
        return len(self.values)

    @property
    def columns(self) -> Mapping[str, NDArray[Any]]:
        """None: these tables have measurements and labels only."""
        return {}

    def records(self, members: NDArray[np.int64]) -> Records:
        """All records, standardised with the members' mean and deviation."""
        inputs = standardised(self.values, members).astype(np.float32)
        return Records(torch.from_numpy(inputs), torch.from_numpy(self.labels.astype(np.int64)), self.classes)


def open_source(data: DataSpec) -> Source:
    """Open `sklearn:digits` as images (n, 1, 8, 8) in [0, 1], or a table."""
    name = data.source.partition(":")[2]
    if name == "digits":
        bunch: Any = datasets.load_digits()
        images = bunch.images.astype(np.float32)[:, None] / 16
        return fixed_source(images, bunch.target, where=data.source, limit=data.limit)
    if name in _TABLES:
        bunch = _TABLES[name]()
        return TableSource(bunch.data[: data.limit], bunch.target[: data.limit], len(bunch.target_names))
    raise DataError(
        f"scikit-learn has no bundled set {name!r} here",
        where="data.source",
        remedy=f"known: digits, {', '.join(_TABLES)}",
    )
