"""The page of `ptaudit selftest`: known answers beside those that were found."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ptaudit.report.document import Cell, Column, Document, Drawn, Lines, grid_of
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
    columns: tuple[Drawn[CaseResult], ...] = (
        (Column("outcome"), lambda case: Cell("PASS", "good") if case.passed else Cell("FAIL", "bad")),
        (Column("case"), lambda case: Cell(case.name, "strong")),
        (Column("expected", elastic=20), lambda case: Cell(case.expected)),
        (Column("found", elastic=20), lambda case: Cell(case.found)),
        (Column("time", right=True, minor=1), lambda case: Cell(duration(case.seconds), "dim")),
    )
    all_passed = all(result.passed for result in results)
    return Document(
        "ptaudit selftest",
        (
            grid_of("case", "Known answers", columns, results),
            Lines("verdict", "", (Cell(conclude(results), "good" if all_passed else "bad"),)),
        ),
    )


@dataclass(frozen=True)
class Answer:
    """The known answer and the one that was found, in words, and whether they agree."""

    expected: str
    found: str
    passed: bool


Case = Callable[[], Answer]
