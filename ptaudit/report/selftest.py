"""The page of `ptaudit selftest`: known answers beside those that were found."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from ptaudit.report.document import Cell, Column, Document, Grid, Lines
from ptaudit.report.words import duration, plural


class CaseFacts(Protocol):
    """One planted case: what is known of it, what was found."""

    @property
    def name(self) -> str: ...  # noqa: D102
    @property
    def expected(self) -> str: ...  # noqa: D102
    @property
    def found(self) -> str: ...  # noqa: D102
    @property
    def passed(self) -> bool: ...  # noqa: D102
    @property
    def seconds(self) -> float: ...  # noqa: D102


def conclude(results: Sequence[CaseFacts]) -> str:
    """All cases in one line."""
    failed = [result.name for result in results if not result.passed]
    total = plural(len(results), "known answer")
    return f"FAIL: {len(failed)} of {total} missed: {', '.join(failed)}" if failed else f"PASS: {total} found"


def selftest_page(results: Sequence[CaseFacts]) -> Document:
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
