"""Which record was in the batch?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ptaudit.context.epoch_context import Line, Scene, groups_of
from ptaudit.context.layer_patterns import (
    shared,
)
from ptaudit.context.observations import adaptive, players, under_noise, why_not_seen
from ptaudit.games.identity import measure as identity
from ptaudit.games.identity import noise_half
from ptaudit.games.identity import pool as identity_pool
from ptaudit.spec.catalog import NOISE_HALF
from ptaudit.spec.model import GameSpec, IdentityGame
from ptaudit.stats.estimate import Estimate
from ptaudit.tables.row import Row
from ptaudit.views import View
from ptaudit.views.knowledge import Asked

NOT_A_SUM = "an adversary that knows {} needs a view that is a sum of the records' gradients"


def play(scene: Scene, game: GameSpec, view: View) -> list[Row]:
    """Rows of all layers jointly and of each; of a static adversary too, where the view has a defense."""
    assert isinstance(game, IdentityGame)
    places = scene.places(view)
    lines = scene.lines(places)
    lost = [Asked(game.adversaries[0], knows=game.knows)]
    missing = scene.not_captured(view.name, game, lost, lambda layer: shared(view, layer))
    why = scene.why_not(view, places) or why_not_seen(scene, view)
    if not why and game.knows != "none" and not view.linear:
        why = NOT_A_SUM.format(f"the {game.knows}")
    if why:
        return scene.lost(view.name, game, lost, lines, why) + missing
    sizes = [line.parameters for line in lines]
    if game.knows == "pool":
        return _of_pool(scene, game, view, lines) + missing
    groups, rows = groups_of(view, len(places)), []
    seen = view if game.knows == "none" else replace(view, batch_size=1, users=1)
    for knowledge, who in players(scene, seen, places):
        name, found = identity.measure(who, groups, sizes, game.candidates, scene.seed, game.fit_batches)
        rows += scene.rows(view.name, game, Asked(name, knowledge, game.knows), lines, found)
        if game.noise_half and knowledge == "adaptive" and seen.linear and seen.noise_std == 0.0:
            noise = {NOISE_HALF: _noise_half(scene, game, seen, found["bits"])}
            rows += scene.rows(view.name, game, Asked("combined", knowledge, game.knows), lines, noise)
    return rows + missing


def _noise_half(scene: Scene, game: IdentityGame, view: View, quiet: Sequence[Estimate]) -> list[Estimate]:
    """The noise that halves what is found, for all layers jointly and for each."""
    places = scene.places(view)

    def play(sigma: float) -> list[Estimate]:
        who = under_noise(scene, view, places, sigma)
        groups = groups_of(who.view, len(places))
        unknown: list[int | None] = [None] * len(groups)
        return identity.measure(who, groups, unknown, game.candidates, scene.seed, game.fit_batches)[1]["bits"]

    return noise_half.measure(quiet, play)


def _of_pool(scene: Scene, game: IdentityGame, view: View, lines: Sequence[Line]) -> list[Row]:
    """Rows of the adversary that knows all records a batch is drawn from."""
    who = adaptive(scene, view, scene.places(view))
    assert who.algebra is not None
    sizes = [line.parameters for line in lines]
    found = identity_pool.measure(who.algebra, view, sizes, game.candidates, scene.seed)
    return scene.rows(view.name, game, Asked(identity_pool.ADVERSARY, knows="pool"), lines, found)
