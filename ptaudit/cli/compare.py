"""`ptaudit compare`: what changed between two runs, and whether by more than noise."""

from __future__ import annotations

import gc
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Annotated

import typer

from ptaudit.cli.options import FormatName, Verbose
from ptaudit.cli.output import Screen
from ptaudit.cli.streams import emit


def compare(
    before: Annotated[Path, typer.Argument(metavar="RUN1", help="The run folder to compare with.")],
    after: Annotated[Path, typer.Argument(metavar="RUN2", help="The run folder in question.")],
    all_rows: Annotated[bool, typer.Option("--all", help="List rows within noise too.")] = False,
    format_name: FormatName = None,
    verbose: Verbose = False,
) -> None:
    """Say what changed between two runs. Marks what is more than noise; a change never fails: `gate` does that."""
    screen = Screen.asked(format_name)

    from ptaudit import compare as comparing
    from ptaudit.tables.folder import read_run

    with ThreadPoolExecutor() as both:
        comparison = comparing.compare(*both.map(read_run, (before, after)))
    gc.disable()  # there are no cycles among the cells of a page; to look for them takes a third of the time
    try:
        text = screen.drawn(comparison, all_rows=all_rows)
    finally:
        gc.enable()
    emit(text)
