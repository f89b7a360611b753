"""One page for people: a single file without scripts, which opens from disk, prints, and reads out loud.

Charts are inline SVG and heat maps are tables, so that nothing is fetched, hovering needs no script, and a screen
reader has every number. A run gets the sections of `sections`; anything else is drawn as all formats draw it.
"""

from __future__ import annotations

import re
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from ptaudit import escape
from ptaudit.report import PAGE, Page, Subject
from ptaudit.report.document import Document
from ptaudit.report.facts import facts
from ptaudit.report.format import DocumentFormat
from ptaudit.report.html.curves import HEIGHT, WIDTH
from ptaudit.report.html.elements import Section
from ptaudit.report.html.sections import sections
from ptaudit.report.summary import conclude
from ptaudit.report.words import sparkline, tenth, thin
from ptaudit.tables.run import Run

if TYPE_CHECKING:
    import pandas as pd


_PERCENT = re.compile(r"(?<=\d) (?=%)")


class Html(DocumentFormat):
    """HTML5 in one file."""

    def render(self, subject: Subject, page: Page = PAGE) -> str:
        """The page about it; of a run all sections."""
        if not isinstance(subject, Run):
            return self.draw(self.document(subject, page), page)
        folder = page.folder or f"runs/{subject.name}"
        return _filled(
            title=f"ptaudit {subject.name}",
            outcome=conclude(subject).outcome,
            facts=facts(subject),
            sections=sections(subject, _records(page.kept), page.kept, folder),
        )

    def draw(self, document: Document, page: Page = PAGE) -> str:
        """Any document: a section."""
        whole = Section("document", "Result", "", document.filled)
        return _filled(title=document.title, outcome="", facts=(), sections=(whole,))


def _records(kept: Path | None) -> pd.DataFrame:
    import pandas as pd

    from ptaudit.tables.samples import COLUMNS, read_samples

    return pd.DataFrame(columns=list(COLUMNS)) if kept is None else read_samples(kept)


def _filled(**values: Any) -> str:
    environment = Environment(
        loader=PackageLoader("ptaudit.report.html", ""),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_shown,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters.update(kind=lambda part: type(part).__name__, spark=sparkline, tenth=tenth, thin=thin)
    style = resources.files(__name__).joinpath("style.css").read_text(encoding="utf-8")
    page = environment.get_template("page.html.j2")
    text = page.render(**values, style=Markup(style), width=WIDTH, height=HEIGHT)
    return "\n".join(line for line in (line.strip() for line in text.splitlines()) if line) + "\n"


def _shown(value: Any) -> Any:
    """Text from data as a line that cannot change what is around it, not to be broken before a percent sign; markup in
    it is escaped after this."""
    return _PERCENT.sub("\u00a0", escape.html(value)) if type(value) is str else value
