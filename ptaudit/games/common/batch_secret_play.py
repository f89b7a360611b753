"""What the games about a secret of a batch share: which views they are played on, and what becomes of their answers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, partial

from torch import Tensor

from ptaudit.context.epoch_context import Scene, groups_of
from ptaudit.context.layer_patterns import (
    shared,
)
from ptaudit.context.observations import Sights, sights, undefended, why_not_seen, wider
from ptaudit.games.common.batch_secret import Found, asked
from ptaudit.games.common.held_out import HeldOut
from ptaudit.spec.inference import InferenceGame, ProbedGame
from ptaudit.tables.row import Row
from ptaudit.views import View
from ptaudit.views.knowledge import Knows
from ptaudit.views.sight import Sight

Measure = Callable[["Table"], Found]


@dataclass(frozen=True)
class Table:
    """What a game is played with on one view.

    Attributes:
        places: the layers that the view shares, as rows of the tokens.
        sights: what is seen of batches.
        groups: for each line the rows its adversary may choose from.
        late: whether her weights are those of the epoch before.
        wider: what is seen of members and of held-out records after them, see `sights.wider`.
    """

    places: list[int]
    sights: Sights
    groups: list[list[int]]
    late: bool
    wider: Callable[[], Sight | None]

    def held_out(self, game: InferenceGame, secret: Tensor) -> HeldOut | None:
        """Held-out records as the adversary's own, unless the spec says how many she has."""
        limited = isinstance(game, ProbedGame) and game.own_records is not None
        return None if self.late or limited or len(secret) == 0 else HeldOut(secret, self.wider)


def play(
    scene: Scene,
    game: InferenceGame,
    view: View,
    families: Sequence[str],
    measure: Measure,
    knows: Knows = "none",
    of_matrices: Sequence[str] = (),
) -> list[Row]:
    """Rows of all layers jointly and of each, by every adversary; static ones too where the view has a defense.

    Those of `of_matrices` play only who knows weights and defense.
    """
    places = scene.places(view)
    lines, late = scene.lines(places), game.weights == "late"
    players = asked(families, None if undefended(view) == view else view, late, knows)
    players = [who for who in players if not who.mistaken or who.adversary not in of_matrices]
    missing = scene.not_captured(view.name, game, players, lambda layer: shared(view, layer))
    if why := scene.why_not(view, places) or why_not_seen(scene, view, late):
        return scene.lost(view.name, game, players, lines, why) + missing
    groups = groups_of(view, len(places))
    more = cache(partial(wider, scene, view, places))
    found = measure(Table(places, sights(scene, view, places, late), groups, late, more))
    by_key = {who.key: who for who in players}
    rows = [row for key, each in found.items() for row in scene.rows(view.name, game, by_key[key], lines, each)]
    return rows + missing


__all__ = ["Found", "Table", "play"]
