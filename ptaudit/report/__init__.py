"""What a person, a script or a CI server reads: one file per output format, behind one interface.

A format draws what `summary`, `pages` and `full` put into words; it knows tables and verdicts, nothing else.
A new format is one file with the functions of `Format`, and one line in `FORMATS`.
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol, cast

from ptaudit.errors import PtauditError

if TYPE_CHECKING:
    from ptaudit.compare import Comparison
    from ptaudit.report.check import CheckFacts
    from ptaudit.report.selftest import CaseFacts
    from ptaudit.tables.run import Run


@dataclass(frozen=True)
class Page:
    """What a text is drawn on.

    Attributes:
        folder: the run folder as the user would type it, for the commands that a report suggests.
        width: columns that fit; layer names are shortened and minor columns left out to keep to it.
        height: lines that fit on one screen; the longest table is cut to keep to it.
        color: whether colours may be used.
        unicode: whether characters beyond ASCII may be used.
        all_rows: whether a comparison lists rows that did not change too.
        inconclusive: what an undecided gate counts as; None: undecided.
    """

    folder: str | None = None
    width: int = 100
    height: int = 40
    color: bool = False
    unicode: bool = True
    all_rows: bool = False
    inconclusive: Literal["pass", "fail"] | None = None


PAGE = Page()
"""A file: 100 columns, no colours."""


class Format(Protocol):
    """One output format: each function returns the whole text, ending in a newline."""

    def render(self, run: Run, page: Page = ...) -> str:
        """A run: the summary, or the full tables where the format is made for files."""

    def render_gates(self, run: Run, page: Page = ...) -> str:
        """The verdicts of a run alone."""

    def render_comparison(self, comparison: Comparison, page: Page = ...) -> str:
        """What changed between two runs."""

    def render_check(self, report: CheckFacts, page: Page = ...) -> str:
        """What an audit would do, before it is run."""

    def render_selftest(self, results: Sequence[CaseFacts], page: Page = ...) -> str:
        """Known answers beside those that were found."""


FORMATS: dict[str, str] = {
    "rich": "ptaudit.report.rich",
    "plain": "ptaudit.report.plain",
    "md": "ptaudit.report.markdown",
    "json": "ptaudit.report.json",
    "junit": "ptaudit.report.junit",
}
"""Format name to the module that draws it; loaded when asked for."""


def open_format(name: str) -> Format:
    """The format of that name.

    Raises:
        PtauditError: no such format; the known ones are listed.
    """
    if name not in FORMATS:
        raise PtauditError(f"unknown format {name!r}", remedy=f"known formats: {', '.join(FORMATS)}")
    return cast(Format, importlib.import_module(FORMATS[name]))
