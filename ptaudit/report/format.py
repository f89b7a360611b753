"""What the formats for people have in common: pages are documents, of which a format says how they are drawn."""

from __future__ import annotations

from abc import ABC, abstractmethod

from ptaudit.compare import Comparison
from ptaudit.report import PAGE, Gates, Page, Subject
from ptaudit.report.check import CheckReport, check_page
from ptaudit.report.comparison import comparison_page
from ptaudit.report.document import Document
from ptaudit.report.pages import gates_page, summary_page
from ptaudit.report.selftest import selftest_page
from ptaudit.tables.run import Run


class DocumentFormat(ABC):
    """A format that draws documents; see `Format`."""

    @abstractmethod
    def draw(self, document: Document, page: Page = PAGE) -> str:
        """Any document as text."""

    def render(self, subject: Subject, page: Page = PAGE) -> str:
        """The page about it; of a run the summary on one screen."""
        return self.draw(self.document(subject, page), page)

    def document(self, subject: Subject, page: Page) -> Document:
        """The page about it, before it is drawn."""
        if isinstance(subject, Run):
            return summary_page(subject, page)
        if isinstance(subject, Gates):
            return gates_page(subject.run, page, subject.broken)
        if isinstance(subject, Comparison):
            return comparison_page(subject, page)
        return check_page(subject) if isinstance(subject, CheckReport) else selftest_page(subject)
