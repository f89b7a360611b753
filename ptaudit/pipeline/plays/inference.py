"""What the games about a secret of a batch share: which views they are played on, and what becomes of their answers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ptaudit.games.inference import Found, names_of
from ptaudit.pipeline.scene import Line, Scene, groups_of
from ptaudit.pipeline.session import shared
from ptaudit.pipeline.sights import Sights, sights, undefended, why_not_seen
from ptaudit.spec.inference import InferenceGame
from ptaudit.tables.row import Row
from ptaudit.views import View

Measure = Callable[["Table"], Found]


@dataclass(frozen=True)
class Table:
    """What a game is played with on one view.

    Attributes:
        places: the layers that the view shares, as rows of the tokens.
        sights: what is seen of batches.
        groups: for each line the rows its adversary may choose from.
        late: whether her weights are those of the epoch before.
    """

    places: list[int]
    sights: Sights
    groups: list[list[int]]
    late: bool


def play(scene: Scene, game: InferenceGame, view: View, families: Sequence[str], measure: Measure) -> list[Row]:
    """Rows of all layers jointly and of each, by every adversary; static ones too where the view has a defense."""
    places = scene.places(view)
    lines, late = scene.lines(places), game.weights == "late"
    names = names_of(families, None if undefended(view) == view else view, late)
    missing = scene.not_captured(view.name, game, names, lambda layer: shared(view, layer))
    if why := scene.why_not(view, places) or why_not_seen(scene, view, late):
        return scene.lost(view.name, game, names, lines, why) + missing
    groups = groups_of(view, len(places))
    found = measure(Table(places, sights(scene, view, places, late), groups, late))
    return rows_of(scene, game, view, lines, found) + missing


def rows_of(scene: Scene, game: InferenceGame, view: View, lines: Sequence[Line], found: Found) -> list[Row]:
    """Rows of every adversary."""
    return [row for name, metrics in found.items() for row in scene.rows(view.name, game, name, lines, metrics)]


__all__ = ["Found", "Table", "play"]
