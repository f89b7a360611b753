"""Which record was in the batch?"""

from __future__ import annotations

from ptaudit.games import identity
from ptaudit.pipeline.scene import Scene, view_tokens
from ptaudit.pipeline.session import shared
from ptaudit.spec.model import GameSpec, IdentityGame
from ptaudit.tables.row import Row
from ptaudit.views import View

ADVERSARY = "likelihood-ratio"


def play(scene: Scene, game: GameSpec, view: View) -> list[Row]:
    """Rows of all layers jointly and of each."""
    assert isinstance(game, IdentityGame)
    places = scene.places(view)
    lines = scene.lines(places)
    missing = scene.not_captured(view.name, game, [ADVERSARY], lambda layer: shared(view, layer))
    if why := scene.why_not(view, places):
        return scene.lost(view.name, game, [ADVERSARY], lines, why) + missing
    tokens, groups = view_tokens(view, scene.inside, places)
    sizes = [line.parameters for line in lines]
    adversary, found = identity.measure(tokens, view, groups, sizes, game.candidates, scene.seed)
    return scene.rows(view.name, game, adversary, lines, found) + missing
