"""GitHub Actions: a summary of the step in Markdown, and annotations at the gates' lines of the spec."""

from __future__ import annotations

from collections.abc import Iterator

from ptaudit.report import PAGE, Gates, Page, Subject
from ptaudit.report.document import Document
from ptaudit.report.format import DocumentFormat
from ptaudit.report.gates import gate_lines, message, outcome_of, spec_name
from ptaudit.report.markdown import Markdown
from ptaudit.tables.run import Run

_MOST_ANNOTATIONS = 10
"""GitHub shows ten of a kind for each step, and drops the rest without a word."""
_MOST_BYTES = 1_000_000
"""GitHub refuses a summary of more than a mebibyte."""
_LEVEL = {"fail": "error", "inconclusive": "warning"}


class GitHub(Markdown):
    """The summary of a step; of a run the page that a terminal shows."""

    def document(self, subject: Subject, page: Page) -> Document:
        """Of a run one screen: all tables are in `report.md`."""
        return DocumentFormat.document(self, subject, page)

    def render(self, subject: Subject, page: Page = PAGE) -> str:
        """The page, cut where GitHub would refuse it."""
        text = super().render(subject, page)
        if len(text.encode()) <= _MOST_BYTES:
            return text
        whole = text.encode()[:_MOST_BYTES].decode(errors="ignore").rpartition("\n")[0]
        return f"{whole}\n\nCut: a summary may have {_MOST_BYTES:,} bytes.\n"

    def log_lines(self, subject: Subject, page: Page = PAGE) -> tuple[str, ...]:
        """Commands that annotate the spec: failed gates first, then undecided ones, ten lines at most."""
        if isinstance(subject, Run):
            subject = Gates(subject)
        if not isinstance(subject, Gates):
            return ()
        lines = tuple(_annotations(subject, page))
        if len(lines) <= _MOST_ANNOTATIONS:
            return lines
        more = len(lines) - _MOST_ANNOTATIONS + 1
        return (*lines[: _MOST_ANNOTATIONS - 1], f"::warning title=ptaudit::{more} more gates did not pass")


def _annotations(judged: Gates, page: Page) -> Iterator[str]:
    run = judged.run
    file, lines = spec_name(run, page), gate_lines(run, page)

    def command(level: str, gate: str, said: str) -> str:
        place = f"file={_property(file)},line={lines.get(gate, 1)},title={_property(f'gate {gate}')}"
        return f"::{level} {place}::{_data(said)}"

    yield from (command("error", gate, said) for gate, said in judged.broken)
    for outcome, level in _LEVEL.items():
        for verdict in run.verdicts:
            if outcome_of(verdict, page) == outcome:
                advice = f"; advice: {verdict.advice}" if verdict.advice else ""
                yield command(level, verdict.id, message(verdict) + advice)


def _data(text: str) -> str:
    """A text as a command's message: one line."""
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    """A text as a command's property."""
    return _data(text).replace(":", "%3A").replace(",", "%2C")
