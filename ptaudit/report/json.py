"""Machine-readable reports. Numbers that do not exist are null: JSON knows no NaN."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, fields, is_dataclass
from typing import TYPE_CHECKING, Any

from ptaudit import escape
from ptaudit.report import PAGE, Page
from ptaudit.report.comparison import counts, obstacles, shown_changes
from ptaudit.report.summary import conclude, summarise
from ptaudit.report.words import share
from ptaudit.spec.catalog import NOISE_HALF
from ptaudit.tables.formats import finite
from ptaudit.tables.row import COLUMNS, Row
from ptaudit.tables.sheets import SHEETS
from ptaudit.tables.wide import Sheet

if TYPE_CHECKING:
    from ptaudit.compare import Comparison
    from ptaudit.report.check import CheckReport
    from ptaudit.report.selftest import CaseResult
    from ptaudit.tables.run import Run
    from ptaudit.tables.verdict import Verdict


_SHEETS = ("defenses", "threats", "localisation", "groups")
"""Derived tables that are in it, where they have rows."""


class Json:
    """One object; see `Format`."""

    def render(self, run: Run, page: Page = PAGE) -> str:
        """A run: manifest, verdict, gates, joint rows with their series, layers, epochs and every row of the table."""
        summary = summarise(run)
        return to_json(
            {
                "name": run.name,
                "verdict": {"outcome": summary.conclusion.outcome, "text": summary.conclusion.text},
                "manifest": dict(run.manifest),
                "timings": dict(run.timings),
                "gates": [_gate(verdict) for verdict in run.verdicts],
                "joint": [
                    {
                        **_row(line.row),
                        "share": share(line.row),
                        "share_by_epoch": list(line.series),
                        NOISE_HALF: line.noise.value if line.noise else None,
                    }
                    for line in summary.joint
                ],
                "audited_epochs": list(summary.epochs),
                "layers": [asdict(layer) for layer in run.layers],
                "epochs": [asdict(epoch) for epoch in run.epochs],
                **{name: lines for name in _SHEETS if (lines := _lines(SHEETS[f"{name}.csv"].make(run)))},
                "caveats": list(summary.caveats),
                "rows": [_row(row) for row in run.rows],
            },
            page,
        )

    def render_gates(self, run: Run, page: Page = PAGE) -> str:
        """The gates and the verdict over them."""
        conclusion = conclude(run)
        return to_json(
            {
                "name": run.name,
                "verdict": {"outcome": conclusion.outcome, "text": conclusion.text},
                "gates": [_gate(verdict) for verdict in run.verdicts],
            },
            page,
        )

    def render_comparison(self, comparison: Comparison, page: Page = PAGE) -> str:
        """Counts, notes and changes (those within noise with `page.all_rows` only)."""
        changes = shown_changes(comparison, all_rows=page.all_rows)
        return to_json(
            {
                "before": comparison.before,
                "after": comparison.after,
                "counts": counts(comparison),
                "not_comparable": obstacles(comparison),
                "notes": list(comparison.notes),
                "changes": [_flat(change) for change in changes],
            },
            page,
        )

    def render_check(self, report: CheckReport, page: Page = PAGE) -> str:
        """What an audit would do."""
        return to_json(asdict(report), page)

    def render_selftest(self, results: Sequence[CaseResult], page: Page = PAGE) -> str:
        """Known answers beside those found."""
        cases = [asdict(result) for result in results]
        return to_json({"passed": all(result.passed for result in results), "cases": cases}, page)


def to_json(content: object, page: Page = PAGE) -> str:
    """JSON text in the characters of the page, keys in the order given."""
    text = json.dumps(finite(content), indent=2, ensure_ascii=not page.unicode, allow_nan=False)
    return escape.json(text) + "\n"


def _lines(sheet: Sheet) -> list[dict[str, Any]]:
    return [dict(zip(sheet.columns, row, strict=True)) for row in sheet.rows]


def _row(row: Row) -> dict[str, Any]:
    return {column: getattr(row, column) for column in COLUMNS}


def _gate(verdict: Verdict) -> dict[str, Any]:
    return {**_flat(verdict), "warning": verdict.warning}


def _flat(record: Any) -> dict[str, Any]:
    assert is_dataclass(record)
    return {field.name: getattr(record, field.name) for field in fields(record)}
