"""How many records became exposed in training, and since when that can be foretold, in two sentences."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ptaudit.report.document import Cell, Lines
from ptaudit.report.words import interval_text, percent
from ptaudit.spec.registry import GAMES

if TYPE_CHECKING:
    from ptaudit.tables.run import Run
    from ptaudit.tables.table import Table

_FLEET, _RUN, _ATTAINABLE = "fleet-forecast", "run-forecast", "attainable"
_EARLY = 0.2
"""Share of the training by which a warning is early."""


def dynamics_lines(run: Run) -> Lines:
    """Of the training as the spec has it; nothing where the game was not played, or found nothing."""
    rows = run.rows.as_trained.where(metric=GAMES["dynamics"].metrics)
    exposed = [row for row in rows.where(metric="exposed") if row.measured]
    if not exposed:
        return Lines("dynamics", "", ())
    last, before = exposed[-1], [f"{percent(row.value)} at epoch {row.epoch}" for row in exposed[:-1]]
    of_all = f"{percent(last.value)} of the records [{percent(last.lo)}, {percent(last.hi)}]"
    said = f"At epoch {last.epoch}, {of_all} are exposed: models trained on them call them members, others do not."
    earlier = f" Before: {', '.join(before)}." if before else ""
    told = _warning(rows, last.epoch)
    cells = [Cell(said + earlier), *([Cell(told)] if told else [])]
    return Lines("dynamics", "", tuple(cells))


def _warning(rows: Table, last: int) -> str:
    """Since when half of the fleet foretells who ends vulnerable, and how well the run alone does early."""
    aucs = {(row.adversary, row.epoch): row for row in rows.where(metric="forecast_auc") if row.measured}
    attainable = aucs.get((_ATTAINABLE, last))
    if attainable is None:
        return ""
    since = next((row for row in rows.where(metric="forecast_from") if row.measured), None)
    best = f"{attainable.value:.3f} attainable"
    if since is None:
        told = f"Nobody foretells for certain who ends most vulnerable (AUC; {best})"
    else:
        at = aucs[_FLEET, int(since.value)]
        told = (
            f"From epoch {int(since.value)} of {last} on other models foretell who ends most vulnerable "
            f"(AUC {interval_text(at)}, {best})"
        )
    early = [row for (who, epoch), row in aucs.items() if who == _RUN and epoch <= _EARLY * last]
    alone = max(early, key=lambda row: row.epoch, default=None)
    return (
        f"{told}."
        if alone is None
        else f"{told}; this run alone does with {interval_text(alone)} at epoch {alone.epoch}."
    )
