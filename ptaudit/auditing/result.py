"""What the audit returns: the run, and its tables as DataFrames."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from pathlib import Path

import pandas as pd

from ptaudit.report import Page, open_format
from ptaudit.tables.row import COLUMNS
from ptaudit.tables.run import Run
from ptaudit.tables.wide import Sheet, epochs_sheet, layer_epoch_sheet, layers_sheet

_ENDINGS = {0: "no gate failed", 1: "a gate failed", 3: "inconclusive"}


@dataclass(frozen=True, repr=False)
class AuditResult:
    """The outcome of an audit; the tables are those of the run folder.

    Attributes:
        run: everything the run folder holds.
        path: the run folder.
        exit_code: what the command would end with: 0, 1 a gate failed, 3 inconclusive.
    """

    run: Run
    path: Path
    exit_code: int

    def __repr__(self) -> str:
        ending = _ENDINGS.get(self.exit_code, f"exit code {self.exit_code}")
        return f"<AuditResult {self.run.name}: {len(self.run.rows)} rows in {self.path}, {ending}>"

    def __str__(self) -> str:
        """The summary that the command prints."""
        return open_format("rich").render(self.run, Page(folder=str(self.path)))

    @property
    def leakage(self) -> pd.DataFrame:
        """One row per number, columns as in `leakage.csv`."""
        return pd.DataFrame({name: self.run.rows.columns[name].tolist() for name in COLUMNS})

    @property
    def layers(self) -> pd.DataFrame:
        """First, last and largest value over the epochs, a row per layer, view, game, adversary and metric."""
        return _frame(layers_sheet(self.run))

    @property
    def epochs(self) -> pd.DataFrame:
        """The training, and the joint row and worst layer of each game and view, a row per epoch."""
        return _frame(epochs_sheet(self.run))

    @property
    def layer_epoch(self) -> pd.DataFrame:
        """The heat map: a column per epoch."""
        return _frame(layer_epoch_sheet(self.run))

    @property
    def gates(self) -> pd.DataFrame:
        """One row per verdict."""
        return pd.DataFrame([asdict(verdict) for verdict in self.run.verdicts])


def _frame(sheet: Sheet) -> pd.DataFrame:
    """The sheet as pandas would read its file: nothing measured is NaN."""
    frame = pd.DataFrame(list(sheet.rows), columns=list(sheet.columns))
    return frame.replace({"": math.nan}).infer_objects()
