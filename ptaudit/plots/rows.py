"""Rows of the leakage table as a data frame that charts take."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import NDArray

if TYPE_CHECKING:
    from ptaudit.tables.run import Run

_COLUMNS = ("epoch", "layer", "game", "adversary", "metric", "value", "lo", "hi", "null")


def measured(run: Run, **where: object) -> pd.DataFrame:
    """Rows of the training as the spec has it that hold a number."""
    rows = [row for row in run.rows.as_trained.where(**where) if row.measured]
    return pd.DataFrame([[getattr(row, name) for name in _COLUMNS] for row in rows], columns=list(_COLUMNS))


def evenly(of: int, most: int) -> NDArray[np.int64]:
    """Places of at most so many, from the first to the last."""
    return np.linspace(0, of - 1, min(most, of)).astype(np.int64)
