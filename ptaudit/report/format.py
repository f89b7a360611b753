"""What the formats for people have in common: pages are documents, of which a format says how they are drawn."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ptaudit.report import PAGE, Page
from ptaudit.report.check import CheckReport, check_page
from ptaudit.report.comparison import comparison_page
from ptaudit.report.document import Document
from ptaudit.report.pages import gates_page, summary_page
from ptaudit.report.selftest import CaseResult, selftest_page

if TYPE_CHECKING:
    from ptaudit.compare import Comparison
    from ptaudit.tables.run import Run


class DocumentFormat(ABC):
    """A format that draws documents; see `Format`."""

    @abstractmethod
    def draw(self, document: Document, page: Page = PAGE) -> str:
        """Any document as text."""

    def render(self, run: Run, page: Page = PAGE) -> str:
        """The summary of a run on one screen."""
        return self.draw(summary_page(run, page), page)

    def render_gates(self, run: Run, page: Page = PAGE) -> str:
        """The gates of a run."""
        return self.draw(gates_page(run, page), page)

    def render_comparison(self, comparison: Comparison, page: Page = PAGE) -> str:
        """What changed between two runs."""
        return self.draw(comparison_page(comparison, page), page)

    def render_check(self, report: CheckReport, page: Page = PAGE) -> str:
        """What an audit would do."""
        return self.draw(check_page(report), page)

    def render_selftest(self, results: Sequence[CaseResult], page: Page = PAGE) -> str:
        """Known answers beside those found."""
        return self.draw(selftest_page(results), page)
