"""Pictures of a run, from its tables alone: one file each, and one line in `PLOTS`."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING

from ptaudit.files import write_whole

if TYPE_CHECKING:
    import altair
    import pandas as pd

    from ptaudit.tables.run import Run

Plot = Callable[["Run", "pd.DataFrame"], "altair.TopLevelMixin | None"]
"""(run, scores of single records or nothing) -> a chart; None where the run has not what it shows."""

_HERE = "ptaudit.plots"
PLOTS: dict[str, str] = {
    "membership": f"{_HERE}.membership:by_epoch",
    "roc": f"{_HERE}.roc:low_rates",
    "regions": f"{_HERE}.regions:shares",
    "transitions": f"{_HERE}.regions:transitions",
    "movement": f"{_HERE}.movement:course",
    "forecast": f"{_HERE}.forecast:by_epoch",
    "plane": f"{_HERE}.plane:places",
    "difficulty": f"{_HERE}.plane:risk",
}
"""Name of a file to `module:function`."""


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
    import vl_convert

    written = []
    for name, place in PLOTS.items():
        module, _, function = place.partition(":")
        plot: Plot = attrgetter(function)(importlib.import_module(module))
        chart = plot(run, records)
        if chart is not None:
            written.append(folder / f"{name}.svg")
            write_whole(written[-1], vl_convert.vegalite_to_svg(chart.to_json()))
    return written
