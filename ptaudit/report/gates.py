"""What the formats for CI servers share: they are about the gates of a run, and say where in a spec each is."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from ptaudit.errors import PtauditError, SpecError
from ptaudit.escape import terminal
from ptaudit.report import PAGE, Gates, Page, Subject, whole_formats
from ptaudit.report.pages import gate_rule
from ptaudit.report.words import bounds_text, view_text
from ptaudit.spec.document import parse
from ptaudit.tables.run import Run

if TYPE_CHECKING:
    from ptaudit.tables.verdict import Outcome, Verdict


class GateFormat(ABC):
    """A format that has room for the gates of a run alone; see `Format`."""

    name: ClassVar[str]

    @abstractmethod
    def draw(self, judged: Gates, page: Page) -> str:
        """The gates as text."""

    def render(self, subject: Subject, page: Page = PAGE) -> str:
        """The gates of a run.

        Raises:
            PtauditError: it is about something else.
        """
        if isinstance(subject, Run):
            subject = Gates(subject)
        if not isinstance(subject, Gates):
            raise PtauditError(f"{self.name} reports gates of runs alone", remedy=f"use {whole_formats()}")
        return self.draw(subject, page)


def outcome_of(verdict: Verdict, page: Page) -> Outcome:
    """The outcome; of an undecided gate what it counts as."""
    return page.inconclusive or verdict.outcome if verdict.outcome == "inconclusive" else verdict.outcome


def message(verdict: Verdict) -> str:
    """A verdict in one line."""
    found = bounds_text(verdict.value, verdict.lo, verdict.hi, 3)
    view = view_text(verdict.view, verdict.trained_with)
    place = f"view {view}, layer {verdict.worst_layer}, epoch {verdict.worst_epoch}"
    reason = "; ".join(text for text in (verdict.reason, verdict.warning) if text)
    reason = f": {reason}" if reason else ""
    return terminal(f"{verdict.outcome}: {gate_rule(verdict)}; worst {found} in {place}{reason}")


def spec_name(run: Run, page: Page) -> str:
    """The file that the gates are in, from the folder that is worked in where it is below it; with `/` throughout."""
    path = Path(page.spec) if page.spec else Path(page.folder or f"runs/{run.name}") / "spec.resolved.yaml"
    beside = os.path.relpath(path)
    return (path if beside.startswith("..") else Path(beside)).as_posix()


def gate_lines(run: Run, page: Page) -> Mapping[str, int]:
    """The line of each gate in that file, by its id; 1 where it cannot be told."""
    text = page.spec_text if page.spec else run.spec_text
    try:
        document = parse(text, "spec")
        listed = document.values["gates"]
        places = {str(gate["id"]): document.where(("gates", k)) for k, gate in enumerate(listed)}
        return {name: int(place.rpartition(":")[2]) for name, place in places.items()}
    except (SpecError, KeyError, TypeError, ValueError):
        return {}
