"""What a person, a script or a CI server reads: one file per output format, behind one interface.

A format draws what `summary`, `pages` and `full` put into words; it knows tables and verdicts, nothing else.
A new format is one file with a class (`format.DocumentFormat` has all but how a document is drawn), and one line in
`FORMATS`: the options and errors that list formats are assembled from it.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol, TypeAlias, cast, runtime_checkable

from ptaudit.errors import PtauditError

if TYPE_CHECKING:
    from ptaudit.compare import Comparison
    from ptaudit.report.check import CheckReport
    from ptaudit.report.selftest import CaseResult
    from ptaudit.tables.run import Run
    from ptaudit.tables.verdict import Verdict


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
        spec: the file that the gates are from, as the user named it; None: the run folder's own.
        spec_text: what is in it.
        kept: the folder with what the run kept of single records, for formats that show pictures of them.
    """

    folder: str | None = None
    width: int = 100
    height: int = 40
    color: bool = False
    unicode: bool = True
    all_rows: bool = False
    inconclusive: Literal["pass", "fail"] | None = None
    spec: str | None = None
    spec_text: str = ""
    kept: Path | None = None


PAGE = Page()
"""A file: 100 columns, no colours."""


@dataclass(frozen=True)
class Gates:
    """The verdicts of a run alone, and the gates that could not be decided at all, each with why."""

    run: Run
    broken: tuple[tuple[str, str], ...] = ()

    @classmethod
    def of(cls, run: Run, verdicts: Sequence[Verdict], broken: Mapping[str, Exception]) -> Gates:
        """Of a run with these verdicts, and the errors of gates by their ids."""
        return cls(replace(run, verdicts=tuple(verdicts)), tuple((gate, str(why)) for gate, why in broken.items()))


class UndecidableError(PtauditError):
    """Gates that could not be decided, of a run whose tables have been written; it reads as the first of them.

    Attributes:
        judged: all gates, those that could be decided with their verdicts.
        path: the run folder.
    """

    def __init__(self, judged: Gates, path: Path, first: PtauditError) -> None:
        self.judged, self.path = judged, path
        super().__init__(first.what, where=first.where, remedy=first.remedy)


Subject: TypeAlias = "Run | Gates | Comparison | CheckReport | Sequence[CaseResult]"
"""What can be shown: a run or its gates, what changed between two, what an audit would do, and known answers."""


class Format(Protocol):
    """One output format."""

    def render(self, subject: Subject, page: Page = ...) -> str:
        """The whole text, ending in a newline; of a run the summary, or all tables where the format is for files."""


@runtime_checkable
class Logging(Protocol):
    """A format that has something to say in the log of a CI server, too."""

    def log_lines(self, subject: Subject, page: Page = ...) -> Sequence[str]:
        """Lines for stderr."""


@dataclass(frozen=True)
class FormatEntry:
    """A format as it is registered.

    Attributes:
        place: `module:class` of what draws it; loaded when asked for.
        gates_only: whether it has room for the gates of a run alone.
        adds_to: the environment variable with the file that it is added to where none is named; such a format has
            `log_lines` for stderr, too.
    """

    place: str
    gates_only: bool = False
    adds_to: str = ""


STEP_SUMMARY = "GITHUB_STEP_SUMMARY"

FORMATS: dict[str, FormatEntry] = {
    "rich": FormatEntry("ptaudit.report.rich:Rich"),
    "plain": FormatEntry("ptaudit.report.plain:Plain"),
    "md": FormatEntry("ptaudit.report.markdown:Markdown"),
    "html": FormatEntry("ptaudit.report.html:Html"),
    "json": FormatEntry("ptaudit.report.json:Json"),
    "csv": FormatEntry("ptaudit.report.csv:Csv"),
    "junit": FormatEntry("ptaudit.report.junit:JUnit", gates_only=True),
    "sarif": FormatEntry("ptaudit.report.sarif:Sarif", gates_only=True),
    "github": FormatEntry("ptaudit.report.github:GitHub", adds_to=STEP_SUMMARY),
}
"""Format name to where it is."""


def open_format(name: str) -> Format:
    """The format of that name.

    Raises:
        PtauditError: no such format; the known ones are listed.
    """
    if name not in FORMATS:
        raise PtauditError(f"unknown format {name!r}", remedy=f"known formats: {', '.join(FORMATS)}")
    module, _, kind = FORMATS[name].place.partition(":")
    return cast(Format, getattr(importlib.import_module(module), kind)())


def whole_formats() -> str:
    """The formats that show all there is, in words: `rich, plain, md, html, json or csv`."""
    *others, last = (name for name, entry in FORMATS.items() if not (entry.gates_only or entry.adds_to))
    return f"{', '.join(others)} or {last}"
