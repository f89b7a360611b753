"""Scores of single records, where a run has kept them: `samples.csv`."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from ptaudit.errors import RunFolderError
from ptaudit.tables.formats import parse, read_csv

SAMPLES = "samples.csv"
COLUMNS = ("seed", "epoch", "record", "layer", "game", "metric", "value")
_KINDS: dict[str, type] = {"seed": int, "epoch": int, "value": float}


def read_samples(folder: Path) -> pd.DataFrame:
    """Reads `samples.csv` of a run folder; nothing where there is none.

    Raises:
        RunFolderError: a row is malformed, with its line.
    """
    path = folder / SAMPLES
    if not path.is_file():
        return pd.DataFrame(columns=list(COLUMNS))
    rows, seen = [], set()
    for where, cells in read_csv(path, COLUMNS):
        row = [parse(_KINDS.get(name, str), cells[name], name, where) for name in COLUMNS]
        if tuple(row[:-1]) in seen:
            raise RunFolderError("this row stands twice", where=where, remedy="write or fetch the run again")
        seen.add(tuple(row[:-1]))
        rows.append(row)
    return pd.DataFrame(rows, columns=list(COLUMNS))
