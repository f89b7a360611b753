"""`ptaudit show`: a finished run again, in any format."""

from __future__ import annotations

from ptaudit.cli.options import FormatName, RunFolder, Verbose
from ptaudit.cli.output import choose_format, page_for
from ptaudit.cli.streams import emit
from ptaudit.report import open_format


def show(run_folder: RunFolder, format_name: FormatName = None, verbose: Verbose = False) -> None:
    """Show a finished run again. The summary with rich and plain, the full tables with md and json."""
    chosen = choose_format(format_name)

    from ptaudit.tables.folder import read_run

    page = page_for(chosen, forced=format_name is not None, folder=run_folder)
    emit(open_format(chosen).render(read_run(run_folder), page))
