"""What to change, from measured rows alone: what other views and trainings of this very run were found to give away."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from ptaudit.report.answer import Answer, Finding, noise_sentence
from ptaudit.report.document import Cell, Column, Grid, Lines, drop_blank_columns, status_cell
from ptaudit.report.words import interval_text, number
from ptaudit.spec.catalog import NO_DEFENSE
from ptaudit.tables.defenses import DefenseLine, defense_lines
from ptaudit.tables.row import Row

if TYPE_CHECKING:
    from ptaudit.report.html.elements import Element
    from ptaudit.tables.run import Run

_COLUMNS = (
    Column("game"), Column("instead of"), Column("measured", right=True), Column("with"),
    Column("measured", right=True), Column("held-out accuracy"), Column("caution"),
)  # fmt: skip
_SUPPOSED = (
    "Less is what the adversaries of this run found less. Where the caution is not ok another one may find more; only "
    "noise of known size keeps everybody from it."
)
_NOTHING = (
    "Nothing that was measured here gives away less by more than noise. To find out what would, add views (larger "
    "batches, fewer layers, a defense with noise) or trainings under defenses to the spec: only what was measured is "
    "advised."
)


def advice_parts(run: Run, answers: tuple[Answer, ...]) -> tuple[Element, ...]:
    """The advice of failed gates, what lowers what is found and by how much, and the noise that would halve it."""
    said = [Cell(f"Gate {v.id}: {v.advice}.", "strong") for v in run.verdicts if v.advice]
    said += [Cell(text) for text in (noise_sentence(run),) if text]
    lines = tuple(line for answer in answers for line in _other_views(answer)) + tuple(_defended(run))
    grid = drop_blank_columns(Grid("change", "What lowers it", _COLUMNS, lines, notes=(Cell(_SUPPOSED),)))
    if not lines and not said:
        said = [Cell(_NOTHING)]
    return Lines("advice", "", tuple(said)), grid


def _other_views(answer: Answer) -> list[tuple[Cell, ...]]:
    """Views that give away less than the worst to an adversary that knows as much: knowledge is nothing to choose."""
    found = []
    for knows in dict.fromkeys(one.row.knows for one in answer.findings):
        every = [one for one in answer.findings if one.row.knows == knows]
        worst = max(every, key=lambda one: one.scale.lo)
        found += [_instead(answer.game, worst, one) for one in every if _is_less(one.scale, worst.scale)]
    return found


def _instead(game: str, worst: Finding, one: Finding) -> tuple[Cell, ...]:
    pair = Cell(worst.shown), _number(worst.scale), Cell(one.shown, "strong"), _number(one.scale)
    return (Cell(game, "strong"), *pair, Cell(""), status_cell(one.scale))


def _defended(run: Run) -> list[tuple[Cell, ...]]:
    """Trainings with a defense that give away less than the training as it is, by adversaries who know of it."""
    lines = [line for line in defense_lines(run) if line.adaptive is not None and line.adaptive.measured]
    bare = {(line.view, line.game, line.metric, line.knows): line for line in lines if line.entry.title == NO_DEFENSE}
    found: list[tuple[Cell, ...]] = []
    for line in lines:
        before = bare.get((line.view, line.game, line.metric, line.knows))
        if line.entry.title == NO_DEFENSE or before is None or line.metric not in ("bits", "auc"):
            continue
        assert line.adaptive is not None
        assert before.adaptive is not None
        if _is_less(line.adaptive, before.adaptive):
            place = Cell(f"the training as it is, view {line.view}")
            trained = Cell(f"trained with {line.entry.title}", "strong")
            cells = place, _number(before.adaptive), trained, _number(line.adaptive), Cell(_cost(line, before))
            found.append((Cell(line.game, "strong"), *cells, status_cell(line.adaptive)))
    return found


def _is_less(row: Row, than: Row) -> bool:
    return row.metric == than.metric and row.hi < than.lo


def _cost(line: DefenseLine, before: DefenseLine) -> str:
    pair = (line.entry.held_out_accuracy, before.entry.held_out_accuracy)
    return f"{number(pair[0], 3)} instead of {number(pair[1], 3)}" if all(map(math.isfinite, pair)) else ""


def _number(row: Row) -> Cell:
    return Cell(f"{row.metric} {interval_text(row)}")
