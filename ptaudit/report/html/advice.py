"""What to change, from measured rows alone: what other views and trainings of this very run were found to give away."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

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
_DEFENDED = (
    "Of the trainings with a defense those are shown that leave less than every one that costs less accuracy; all of "
    "them are under Defenses."
)
_TOLD_BY = ("bits", "auc")
"""Metrics of a game that trainings are compared by, the first that it has."""
_NOTHING = (
    "Nothing that was measured here gives away less by more than noise. To find out what would, add views (larger "
    "batches, fewer layers, a defense with noise) or trainings under defenses to the spec: only what was measured is "
    "advised."
)


def advice_parts(run: Run, answers: tuple[Answer, ...]) -> tuple[Element, ...]:
    """The advice of failed gates, what lowers what is found and by how much, and the noise that would halve it."""
    said = [Cell(f"Gate {v.id}: {v.advice}.", "strong") for v in run.verdicts if v.advice]
    said += [Cell(text) for text in (noise_sentence(run),) if text]
    defended = tuple(_defended(run))
    lines = tuple(line for answer in answers for line in _other_views(answer)) + defended
    notes = tuple(map(Cell, (_SUPPOSED, _DEFENDED) if defended else (_SUPPOSED,)))
    grid = drop_blank_columns(Grid("change", "What lowers it", _COLUMNS, lines, notes=notes))
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
    """Trainings with a defense that give away less than the training as it is, by adversaries who know of it: those
    that leave less than every one that costs less accuracy."""
    lines = [line for line in defense_lines(run) if line.adaptive is not None and line.adaptive.measured]
    games: dict[tuple[str, str, str], dict[str, list[DefenseLine]]] = {}
    for line in lines:
        if line.metric in _TOLD_BY:
            games.setdefault((line.view, line.game, line.knows), {}).setdefault(line.metric, []).append(line)
    found: list[tuple[Cell, ...]] = []
    for every in games.values():
        told = next(every[metric] for metric in _TOLD_BY if metric in every)
        bare = [line for line in told if line.entry.title == NO_DEFENSE]
        found += [_trained(line, bare[0]) for line in _front(told, bare)]
    return found


def _front(told: list[DefenseLine], bare: list[DefenseLine]) -> list[DefenseLine]:
    """Cheapest first, each leaving less than all before it."""
    kept = bare[:1]
    for line in sorted(told, key=lambda one: -np.nan_to_num(one.entry.held_out_accuracy, nan=-math.inf)):
        if kept and all(_is_less(_adaptive(line), _adaptive(other)) for other in kept):
            kept.append(line)
    return kept[1:]


def _trained(line: DefenseLine, before: DefenseLine) -> tuple[Cell, ...]:
    place = Cell(f"the training as it is, view {line.view}")
    trained = Cell(f"trained with {line.entry.title}", "strong")
    cells = place, _number(_adaptive(before)), trained, _number(_adaptive(line)), Cell(_cost(line, before))
    return (Cell(line.game, "strong"), *cells, status_cell(_adaptive(line)))


def _adaptive(line: DefenseLine) -> Row:
    assert line.adaptive is not None
    return line.adaptive


def _is_less(row: Row, than: Row) -> bool:
    return row.metric == than.metric and row.hi < than.lo


def _cost(line: DefenseLine, before: DefenseLine) -> str:
    pair = (line.entry.held_out_accuracy, before.entry.held_out_accuracy)
    return f"{number(pair[0], 3)} instead of {number(pair[1], 3)}" if all(map(math.isfinite, pair)) else ""


def _number(row: Row) -> Cell:
    return Cell(f"{row.metric} {interval_text(row)}")
