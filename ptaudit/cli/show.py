"""`ptaudit show`: a finished run again, in any format."""

from __future__ import annotations

from ptaudit.cli.options import FormatName, RunFolder, Verbose
from ptaudit.cli.output import Screen
from ptaudit.cli.streams import emit


def show(run_folder: RunFolder, format_name: FormatName = None, verbose: Verbose = False) -> None:
    """Show a finished run again. The summary with rich and plain, the full tables with md and json."""
    screen = Screen.asked(format_name)

    from ptaudit.tables.folder import read_run

    run = read_run(run_folder)
    emit(screen.drawn(run, folder=str(run_folder)))
