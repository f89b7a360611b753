"""Which of the attacks that a regulator names were run, and which were not and why."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

from ptaudit.report.words import shares
from ptaudit.spec.attack_classes import ATTACK_CLASSES, About, AttackClass
from ptaudit.spec.catalog import JOINT
from ptaudit.spec.registry import GAMES
from ptaudit.tables.row import Row
from ptaudit.tables.run import Run
from ptaudit.tables.spec import games_of
from ptaudit.tables.status import is_number
from ptaudit.tables.table import Table
from ptaudit.tables.wide import primary_rows

State = Literal["run", "not run", "not applicable"]
_SHOWN = (
    "game", "metric", "view", "layer", "adversary", "knows", "epoch", "value", "lo", "hi", "null", "ceiling",
    "detectable", "n", "status",
)  # fmt: skip


@dataclass(frozen=True)
class AttackEntry:
    """A class of attacks.

    Attributes:
        name: as EDPB Opinion 28/2024 has it.
        question: what it asks.
        state: `run`, `not run` or `not applicable`.
        why: how it was run, or why it was not.
        worst: where it was, the number that is nearest to its ceiling: columns of `leakage.csv`.
    """

    name: str
    question: str
    state: State
    why: str
    worst: dict[str, Any] | None = None


def attack_entries(run: Run) -> list[dict[str, Any]]:
    """An entry for every class, from the games that were played; as plain values."""
    return [asdict(_entry(run, name, about)) for name, about in ATTACK_CLASSES.items()]


def _entry(run: Run, name: AttackClass, about: About) -> AttackEntry:
    players = [game for game in GAMES if name in GAMES[game].attack_classes]
    rows = _of_games(run, players)
    measured = rows.take(rows.measured & rows.adaptive)
    if len(measured):
        worst = _worst(run, measured)
        played = ", ".join(measured.text("game").counts())
        adversaries = len(measured.text("adversary").counts())
        why = f"{played}: {len(measured)} numbers of {adversaries} adversaries at the audited epochs"
        return AttackEntry(name, about.question, "run", why, {column: getattr(worst, column) for column in _SHOWN})
    if len(rows):
        status = next((s for s in rows.text("status").counts() if not is_number(s)), "no number")
        return AttackEntry(name, about.question, "not run", f"tried, and nothing was measured: {status}")
    if players:
        return AttackEntry(name, about.question, "not run", f"the spec has none of the games {', '.join(players)}")
    if about.generative and "held_out_majority" in run.manifest:
        why = "the model answers with one of a few classes, and can repeat no record"
        return AttackEntry(name, about.question, "not applicable", why)
    return AttackEntry(name, about.question, "not run", about.no_game)


def _of_games(run: Run, players: list[str]) -> Table:
    """The rows of some games, whatever they are called in the spec, about the training as it is."""
    named = games_of(run.spec_text)
    rows = run.rows.as_trained
    titles = [t for t in rows.text("game").counts() if str(named.get(t, {}).get("name", t)) in players]
    return rows.where(game=titles)


def _worst(run: Run, measured: Table) -> Row:
    """Of the last epoch's rows of all layers jointly, where there are such, that nearest to its ceiling."""
    last = measured.where(epoch=int(measured.number("epoch").max()))
    primary = primary_rows(last)
    rows = primary if len(primary) else last
    joint = rows.where(layer=JOINT)
    rows = joint if len(joint) else rows
    reached = [-1.0 if share is None else share for share in shares(rows)]
    return rows[max(range(len(rows)), key=lambda k: (reached[k], rows[k].lo))]
