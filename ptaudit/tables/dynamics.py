"""How records move over the plane of false-positive and true-positive rates: `dynamics.csv`, a row for each number."""

from __future__ import annotations

from ptaudit.spec.catalog import TRANSITIONS
from ptaudit.spec.registry import GAMES
from ptaudit.tables.run import Run
from ptaudit.tables.wide import Sheet

_NUMBERS = ("value", "lo", "hi", "null", "n", "status")

COLUMNS = ("epoch", "trained_with", "game", "adversary", "measure", "region_from", "region_to", *_NUMBERS)


def dynamics_sheet(run: Run) -> Sheet:
    """The rows of games of dynamics; those of a step have the epoch that it leads to. Empty where none was played."""
    rows = []
    for row in run.rows.where(metric=GAMES["dynamics"].metrics):
        regions = TRANSITIONS.get(row.metric, ("", ""))
        measure = "transition" if row.metric in TRANSITIONS else row.metric
        start = (row.epoch, row.trained_with, row.game, row.adversary, measure, *regions)
        rows.append((*start, *(getattr(row, name) for name in _NUMBERS)))
    return Sheet(COLUMNS, tuple(rows))
