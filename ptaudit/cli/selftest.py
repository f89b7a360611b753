"""`ptaudit selftest`: known answers on the user's own machine."""

from __future__ import annotations

from ptaudit.cli.options import FormatName, Quiet, Verbose
from ptaudit.cli.output import choose_format, page_for
from ptaudit.cli.progress import open_progress
from ptaudit.cli.streams import emit
from ptaudit.errors import PtauditError
from ptaudit.escape import terminal
from ptaudit.report import open_format


def selftest(format_name: FormatName = None, quiet: Quiet = False, verbose: Verbose = False) -> None:
    """Check ptaudit itself on this machine. Measures planted leaks and a private toy whose answers are known."""
    chosen = choose_format(format_name)

    from ptaudit.report.selftest import conclude

    with open_progress(quiet) as progress:
        from ptaudit.selftest import run as measure

        results = measure(progress)
    page = page_for(chosen, forced=format_name is not None)
    brief = quiet and format_name is None
    emit(terminal(conclude(results)) + "\n" if brief else open_format(chosen).render_selftest(results, page))
    failed = [result.name for result in results if not result.passed]
    if failed:
        raise PtauditError(
            f"selftest failed: {', '.join(failed)}", remedy="do not trust numbers measured on this machine"
        )
