"""Machine-readable reports. Numbers that do not exist are null: JSON knows no NaN."""

from __future__ import annotations

import json
from dataclasses import asdict, fields, is_dataclass
from typing import TYPE_CHECKING, Any

from ptaudit import escape
from ptaudit.compare import Comparison
from ptaudit.report import PAGE, Gates, Page, Subject
from ptaudit.report.check import CheckReport
from ptaudit.report.comparison import counts, obstacles, shown_changes
from ptaudit.report.summary import Conclusion, conclude, summarise
from ptaudit.report.words import share
from ptaudit.spec.catalog import NOISE_HALF
from ptaudit.tables.formats import finite
from ptaudit.tables.row import COLUMNS, Row
from ptaudit.tables.run import Run
from ptaudit.tables.sheets import SHEETS
from ptaudit.tables.wide import Sheet

if TYPE_CHECKING:
    from ptaudit.tables.verdict import Verdict


_SHEETS = ("defenses", "threats", "localisation", "groups")
"""Derived tables that are in it, where they have rows."""


class Json:
    """One object; see `Format`."""

    def render(self, subject: Subject, page: Page = PAGE) -> str:
        """All that there is; of a comparison changes within noise with `page.all_rows` only."""
        if isinstance(subject, Run):
            return to_json(_run(subject), page)
        if isinstance(subject, Gates):
            judged = _judged(subject.run, conclude(subject.run))
            judged["gates"] += [{"id": gate, "outcome": "error", "reason": why} for gate, why in subject.broken]
            return to_json({"name": subject.run.name, **judged}, page)
        if isinstance(subject, Comparison):
            return to_json(_comparison(subject, page), page)
        if isinstance(subject, CheckReport):
            return to_json(asdict(subject), page)
        return to_json({"passed": all(one.passed for one in subject), "cases": list(map(asdict, subject))}, page)


def _run(run: Run) -> dict[str, Any]:
    """Manifest, verdict, gates, joint rows with their series, layers, epochs and every row of the table."""
    summary = summarise(run)
    judged = _judged(run, summary.conclusion)
    return {
        "name": run.name,
        "verdict": judged["verdict"],
        "answer": [answer.text for answer in summary.answers],
        "manifest": dict(run.manifest),
        "timings": dict(run.timings),
        "gates": judged["gates"],
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
    }


def _judged(run: Run, conclusion: Conclusion) -> dict[str, Any]:
    return {"verdict": asdict(conclusion), "gates": [_gate(verdict) for verdict in run.verdicts]}


def _comparison(comparison: Comparison, page: Page) -> dict[str, Any]:
    changes = shown_changes(comparison, all_rows=page.all_rows)
    return {
        "before": comparison.before,
        "after": comparison.after,
        "counts": counts(comparison),
        "not_comparable": obstacles(comparison),
        "notes": list(comparison.notes),
        "changes": [_flat(change) for change in changes],
    }


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
