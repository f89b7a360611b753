"""`ptaudit selftest`: known answers on the user's own machine."""

from __future__ import annotations

from ptaudit.cli.options import FormatName, Quiet, Verbose
from ptaudit.cli.output import Screen
from ptaudit.cli.progress import open_progress
from ptaudit.cli.streams import emit
from ptaudit.errors import PtauditError
from ptaudit.escape import terminal


def selftest(format_name: FormatName = None, quiet: Quiet = False, verbose: Verbose = False) -> None:
    """Check ptaudit itself on this machine. Measures planted leaks and a private toy whose answers are known."""
    screen = Screen.asked(format_name)

    from ptaudit.report.selftest import conclude

    with open_progress(quiet) as progress:
        from ptaudit.selftest import run as measure

        results = measure(progress)
    brief = quiet and not screen.forced
    line = terminal(conclude(results)) + "\n"
    emit(line if brief else screen.drawn(results))
    failed = [result.name for result in results if not result.passed]
    if failed:
        raise PtauditError(
            f"selftest failed: {', '.join(failed)}", remedy="do not trust numbers measured on this machine"
        )
