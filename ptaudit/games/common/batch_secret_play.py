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
from ptaudit.games.common.batch_secret import Found
from ptaudit.games.common.observed_view import HeldOut, ObservedView, asked
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

    def observed(self, view: View, game: ProbedGame, seed: int, others: Tensor | None = None) -> ObservedView:
        """What is observed, by whom; with the secret of held-out records, unless the spec says how many records of its
        own the adversary has."""
        alone = self.late or game.own_records is not None or others is None or len(others) == 0
        held_out = None if alone or others is None else HeldOut(others, self.wider)
        seen = self.sights
        return ObservedView(
            view, seen.now, seen.known, seen.plain, self.groups, seed, self.late, game.own_records, game.fit_batches,
            held_out,
        )  # fmt: skip


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
