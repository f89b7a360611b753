"""`ptaudit show`: a finished run again, in any format."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ptaudit.cli.options import FormatName, RunFolder, Verbose
from ptaudit.cli.output import Screen
from ptaudit.cli.streams import emit, say

Plots = Annotated[
    Path | None, typer.Option(metavar="DIR", help="Draw pictures of the run there too, each an SVG with its caption.")
]


def show(run_folder: RunFolder, format_name: FormatName = None, plots: Plots = None, verbose: Verbose = False) -> None:
    """Show a finished run again. The summary with rich and plain, all there is with md, html and json."""
    screen = Screen.asked(format_name)

    from ptaudit.tables.folder import read_run

    run = read_run(run_folder)
    if plots is not None:
        from ptaudit.plots import write_plots
        from ptaudit.report.words import plural
        from ptaudit.tables.samples import read_samples

        written = write_plots(run, read_samples(run_folder), plots)
        say(f"{plural(len(written), 'picture')} in {plots}" if written else "no picture: nothing here is shown by one")
    emit(screen.drawn(run, folder=str(run_folder), kept=run_folder))
