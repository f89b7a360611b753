"""`sklearn:NAME`: the sets that come with scikit-learn; nothing is downloaded."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn import datasets

from ptaudit.data.kinds import InputColumn
from ptaudit.data.preprocess import NumberCode, Preprocessing
from ptaudit.data.records import Labels, Source, fixed_source
from ptaudit.data.table import measured
from ptaudit.errors import DataError

if TYPE_CHECKING:
    from ptaudit.spec.model import DataSpec

_TABLES = {"iris": datasets.load_iris, "wine": datasets.load_wine, "breast_cancer": datasets.load_breast_cancer}


def open_source(data: DataSpec) -> Source:
    """Open `sklearn:digits` as images (n, 1, 8, 8) in [0, 1], or a table of measurements."""
    name = data.source.partition(":")[2]
    if name == "digits":
        bunch: Any = datasets.load_digits()
        images = bunch.images.astype(np.float32)[:, None] / 16
        labels = Labels(bunch.target, names=tuple(map(str, bunch.target_names)))
        return fixed_source(images, labels, where=data.source, limit=data.limit)
    if name in _TABLES:
        return _table(_TABLES[name](), data)
    raise DataError(
        f"scikit-learn has no bundled set {name!r} here",
        where="data.source",
        remedy=f"known: digits, {', '.join(_TABLES)}",
    )


def _table(bunch: Any, data: DataSpec) -> Source:
    targets = bunch.target[: data.limit].astype(np.int64)
    names = tuple(map(str, bunch.target_names))
    frame = pd.DataFrame(bunch.data[: data.limit], columns=bunch.feature_names)
    return measured(frame, Labels(targets, len(names), names), data, _together)


def _together(columns: Sequence[InputColumn], members: NDArray[np.int64], rare: int, where: str) -> Preprocessing:
    """Mean 0 and variance 1 of all columns in one pass, as the tables of these sets have always had them."""
    inside = np.stack([column.values for column in columns], axis=1)[members]
    mean, scale = inside.mean(axis=0), inside.std(axis=0)
    scale[scale == 0] = 1.0
    return {column.name: NumberCode(float(m), float(s)) for column, m, s in zip(columns, mean, scale, strict=True)}
