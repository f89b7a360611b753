"""What could not be measured is said beside the answer: a reader must not take it for nothing found."""

from __future__ import annotations

from dataclasses import replace

from report.example_run import example_run

from ptaudit.report import open_format
from ptaudit.report.answer import unmeasured
from ptaudit.tables.table import Table


def without(run, view):
    """The run with nothing measured of a view."""
    blank = {name: float("nan") for name in ("value", "lo", "hi")}
    rows = [
        replace(row, status="inconclusive: too few records", **blank) if row.view == view else row for row in run.rows
    ]
    return replace(run, rows=Table.of(rows))


def test_a_game_that_could_not_be_measured_is_named_in_all_reports():
    run = without(example_run(), "batch-32")
    text = "Not measured, and not to be read as safe: identity of batch-32, label of batch-32."
    assert unmeasured(example_run()) == ""
    assert unmeasured(run) == text
    for name in ("rich", "plain", "md", "html"):
        assert text in " ".join(open_format(name).render(run).split()), name
