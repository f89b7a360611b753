"""The page of `ptaudit selftest`: known answers beside those that were found."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ptaudit.report.document import Cell, Column, Document, Grid, Lines
from ptaudit.report.words import duration, plural


@dataclass(frozen=True)
class CaseResult:
    """One known answer beside the one that was found.

    Attributes:
        name: name of the case.
        expected: the known answer.
        found: what was measured.
        passed: whether they agree.
        seconds: how long it took.
    """

    name: str
    expected: str
    found: str
    passed: bool
    seconds: float


def conclude(results: Sequence[CaseResult]) -> str:
    """All cases in one line."""
    failed = [result.name for result in results if not result.passed]
    total = plural(len(results), "known answer")
    return f"FAIL: {len(failed)} of {total} missed: {', '.join(failed)}" if failed else f"PASS: {total} found"


def selftest_page(results: Sequence[CaseResult]) -> Document:
    """Every case and the verdict over them."""
    columns = (
        Column("outcome"),
        Column("case"),
        Column("expected", elastic=20),
        Column("found", elastic=20),
        Column("time", right=True, minor=1),
    )
    rows = tuple(
        (
            Cell("PASS" if result.passed else "FAIL", "good" if result.passed else "bad"),
            Cell(result.name, "strong"),
            Cell(result.expected),
            Cell(result.found),
            Cell(duration(result.seconds), "dim"),
        )
        for result in results
    )
    all_passed = all(result.passed for result in results)
    return Document(
        "ptaudit selftest",
        (
            Grid("case", "Known answers", columns, rows),
            Lines("verdict", "", (Cell(conclude(results), "good" if all_passed else "bad"),)),
        ),
    )
