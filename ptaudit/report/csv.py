"""CSV: the rows of whatever is shown, one table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

from ptaudit.compare import Change, Comparison
from ptaudit.report import PAGE, Gates, Page, Subject
from ptaudit.report.check import CheckReport
from ptaudit.report.comparison import shown_changes
from ptaudit.report.selftest import CaseResult
from ptaudit.tables.folder import leakage_text
from ptaudit.tables.formats import csv_text
from ptaudit.tables.run import LayerEntry, Run
from ptaudit.tables.verdict import Verdict


@dataclass(frozen=True)
class _Broken:
    """What a table of verdicts says of a gate that could not be decided at all."""

    id: str
    outcome: str = "error"
    reason: str = ""


class Csv:
    """One table; see `Format`."""

    def render(self, subject: Subject, page: Page = PAGE) -> str:
        """`leakage.csv` of a run, its verdicts, the changes between two (those within noise with `page.all_rows` only),
        the layers of a check, or known answers."""
        if isinstance(subject, Run):
            return leakage_text(subject.rows)
        if isinstance(subject, Gates):
            return _table(
                Verdict, [*subject.run.verdicts, *(_Broken(gate, reason=why) for gate, why in subject.broken)]
            )
        if isinstance(subject, Comparison):
            return _table(Change, shown_changes(subject, all_rows=page.all_rows))
        return _table(LayerEntry, subject.layers) if isinstance(subject, CheckReport) else _table(CaseResult, subject)


def _table(kind: type, records: Sequence[object]) -> str:
    names = [field.name for field in fields(kind)]
    cells = ([getattr(record, name, None) for name in names] for record in records)
    return csv_text(names, (["" if cell is None else cell for cell in row] for row in cells))
