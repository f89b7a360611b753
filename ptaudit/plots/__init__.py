"""Pictures of a run, from its tables alone: one file each, and one line in `PLOTS`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import altair as alt
import pandas as pd
import vl_convert

from ptaudit.files import write_whole
from ptaudit.plots import defenses, forecast, membership, movement, plane, regions, roc

if TYPE_CHECKING:
    from ptaudit.tables.run import Run

Plot = Callable[["Run", pd.DataFrame], alt.TopLevelMixin | None]
"""(run, scores of single records or nothing) -> a chart; None where the run has not what it shows."""

PLOTS: dict[str, Plot] = {
    "membership": membership.by_epoch,
    "roc": roc.low_rates,
    "regions": regions.shares,
    "transitions": regions.transitions,
    "movement": movement.course,
    "forecast": forecast.by_epoch,
    "plane": plane.places,
    "difficulty": plane.risk,
    "defenses": defenses.accuracy_against_leakage,
}
"""Name of a file to what it shows."""


def write_plots(run: Run, records: pd.DataFrame, folder: Path) -> list[Path]:
    """Write every picture that the run has something for, as SVG.

    Args:
        run: the tables.
        records: scores of single records as in `samples.csv`; empty where they were not kept.
        folder: made if it does not exist.

    Returns:
        The files.

    Raises:
        RunFolderError: they cannot be written.
    """
    written = []
    for name, plot in PLOTS.items():
        chart = plot(run, records)
        if chart is not None:
            written.append(folder / f"{name}.svg")
            write_whole(written[-1], vl_convert.vegalite_to_svg(chart.to_json()))
    return written
