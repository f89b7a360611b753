"""Which record was in the batch?"""

from __future__ import annotations

from ptaudit.games import identity
from ptaudit.pipeline.scene import Scene, groups_of
from ptaudit.pipeline.session import shared
from ptaudit.pipeline.sights import players, why_not_seen
from ptaudit.spec.model import GameSpec, IdentityGame
from ptaudit.tables.row import Row
from ptaudit.views import View
from ptaudit.views.knowledge import Asked

ADVERSARY = "combined"


def play(scene: Scene, game: GameSpec, view: View) -> list[Row]:
    """Rows of all layers jointly and of each; of a static adversary too, where the view has a defense."""
    assert isinstance(game, IdentityGame)
    places = scene.places(view)
    lines = scene.lines(places)
    missing = scene.not_captured(view.name, game, [ADVERSARY], lambda layer: shared(view, layer))
    if why := scene.why_not(view, places) or why_not_seen(scene, view):
        return scene.lost(view.name, game, [ADVERSARY], lines, why) + missing
    groups, sizes = groups_of(view, len(places)), [line.parameters for line in lines]
    rows = []
    for knowledge, who in players(scene, view, places):
        name, found = identity.measure(
            who.tokens, who.view, groups, sizes, game.candidates, scene.seed, who.sight, who.known, who.algebra
        )
        rows += scene.rows(view.name, game, Asked(name, knowledge), lines, found)
    return rows + missing
