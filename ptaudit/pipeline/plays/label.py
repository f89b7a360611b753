"""Of which class is a record of the batch?"""

from __future__ import annotations

from ptaudit.games import label
from ptaudit.pipeline.scene import Scene, view_tokens
from ptaudit.pipeline.session import shared
from ptaudit.spec.model import GameSpec
from ptaudit.tables.row import Row
from ptaudit.views import View


def play(scene: Scene, game: GameSpec, view: View) -> list[Row]:
    """Rows of all layers jointly and of each."""
    places, classes = scene.places(view), scene.session.records.classes
    lines = scene.lines(places)
    missing = scene.not_captured(view.name, game, [label.ADVERSARY], lambda layer: shared(view, layer))
    why = scene.why_not(view, places) or ("the targets are no classes" if classes is None else "")
    if classes is None or why:
        return scene.lost(view.name, game, [label.ADVERSARY], lines, why) + missing
    tokens, groups = view_tokens(view, scene.inside, places)
    adversary, found = label.measure(tokens, scene.targets, classes, view, groups, scene.seed)
    return scene.rows(view.name, game, adversary, lines, found) + missing
