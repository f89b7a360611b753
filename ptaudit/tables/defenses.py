"""What each defense costs in accuracy and hides from whom: `defenses.csv`."""

from __future__ import annotations

import math
from dataclasses import dataclass
from operator import attrgetter
from typing import Any

from ptaudit.spec.catalog import JOINT, NO_DEFENSE
from ptaudit.spec.defenses import settings_of
from ptaudit.tables.row import Row
from ptaudit.tables.run import DefenseEntry, Run
from ptaudit.tables.spec import plain_spec, views_of
from ptaudit.tables.table import Table, best_adversary
from ptaudit.tables.wide import Cell, Sheet

NONE = NO_DEFENSE
METRICS = ("bits", "accuracy", "gain", "auc", "tpr_at_fpr_0.01", "tpr_at_fpr_0.001")


@dataclass(frozen=True)
class DefenseLine:
    """One number under one defense, by adversaries who know it and who do not.

    Attributes:
        entry: the training that the view was seen of.
        shown: the defense of the view itself; the training's, or none.
        view: name of the view.
        game: name of the game.
        metric: which number.
        knows: what the adversaries know of the records.
        adaptive: the strongest adversary that was fitted on what the defense shows; None where none played.
        static: the strongest that was fitted on undefended views.
    """

    entry: DefenseEntry
    shown: str
    view: str
    game: str
    metric: str
    knows: str
    adaptive: Row | None
    static: Row | None


def defense_lines(run: Run) -> list[DefenseLine]:
    """The joint rows at the last audited epoch of each defense, beside those without one.

    Empty where neither the spec nor a view has one.
    """
    entries = {entry.title: entry for entry in run.defenses}
    on_view = {name: view.get("defense") for name, view in views_of(run.spec_text).items()}
    if not entries and not any(on_view.values()):
        return []
    rows = _last_rows(run.rows)
    adaptive, static = (
        {_line_key(row): row for row in best_adversary(rows.where(knowledge=known), *_LINE_KEY)}
        for known in ("adaptive", "static")  # adversaries with late weights are in no such table
    )
    found = []
    for where in rows.where(knowledge=("adaptive", "static")).distinct(*_LINE_KEY):
        view, trained_with, game, metric, knows = where
        entry = entries.get(trained_with) or undefended(run)
        shown = title_of(on_view.get(view)) if trained_with == NONE else trained_with
        found.append(DefenseLine(entry, shown, view, game, metric, knows, adaptive.get(where), static.get(where)))
    return found


_LINE_KEY = ("view", "trained_with", "game", "metric", "knows")
_line_key = attrgetter(*_LINE_KEY)


def undefended(run: Run) -> DefenseEntry:
    """The training as the spec has it, perhaps with a defense of its own."""
    nan = math.nan
    last = run.epochs[-1] if run.epochs else None
    numbers = (last.train_accuracy, last.held_out_accuracy, last.held_out_loss, last.epsilon) if last else (nan,) * 4
    train = plain_spec(run.spec_text).get("train")
    own = train.get("defense") if isinstance(train, dict) else None
    name = str(own.get("name")) if isinstance(own, dict) else NONE
    return DefenseEntry(title_of(own), name, "", nan, *numbers, "ok")


COLUMNS = (
    "trained_with", "defense", "parameter", "strength", "held_out_accuracy", "held_out_loss", "epsilon", "view", "game",
    "metric", "knows", "adaptive", "adaptive_value", "adaptive_lo", "adaptive_hi", "static", "static_value",
    "static_lo", "static_hi", "null", "ceiling", "n", "status",
)  # fmt: skip


def defenses_sheet(run: Run) -> Sheet:
    """`defenses.csv`: a row for each training, view, game and metric."""
    return Sheet(COLUMNS, tuple(_cells(line) for line in defense_lines(run)))


def _cells(line: DefenseLine) -> tuple[Cell, ...]:
    entry, nan = line.entry, math.nan
    one = line.adaptive or line.static
    assert one is not None
    numbers: list[Cell] = []
    for row in (line.adaptive, line.static):
        numbers += [row.adversary, row.value, row.lo, row.hi] if row else ["", nan, nan, nan]
    return (
        entry.title, line.shown, entry.parameter, entry.strength, entry.held_out_accuracy,
        entry.held_out_loss, entry.epsilon, line.view, line.game, line.metric, line.knows, *numbers, one.null,
        one.ceiling, one.n, one.status,
    )  # fmt: skip


def _last_rows(rows: Table) -> Table:
    """Joint rows of the last epoch of each view and training."""
    last: dict[tuple[str, str], int] = {}
    for epoch, view, trained_with in rows.distinct("epoch", "view", "trained_with"):
        last[view, trained_with] = max(epoch, last.get((view, trained_with), 0))
    joint = rows.where(layer=JOINT, metric=METRICS)
    is_last = joint.ask(lambda row: row.epoch == last[row.view, row.trained_with], "epoch", "view", "trained_with")
    return joint.take(is_last)


def title_of(defense: Any) -> str:
    """A defense of the spec in words, as the list `defenses` calls it: name, strength, what else is unusual."""
    if not isinstance(defense, dict):
        return NONE
    settings = settings_of(defense)
    return str(defense.get("name")) if settings is None else settings.title
