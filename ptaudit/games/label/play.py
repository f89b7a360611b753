"""Of which class is a record of the batch?"""

from __future__ import annotations

from functools import cache, partial

from ptaudit.attacks.batch import COMBINED
from ptaudit.context.epoch_context import Scene, groups_of
from ptaudit.context.layer_patterns import (
    shared,
)
from ptaudit.context.observations import players, sights, why_not_seen, wider
from ptaudit.games.common.observed_view import HeldOut, ObservedView, asked
from ptaudit.games.label import measure as label
from ptaudit.spec.games import LabelGame
from ptaudit.spec.play import GameSpec
from ptaudit.tables.row import Row
from ptaudit.views import View
from ptaudit.views.knowledge import Asked


def play(scene: Scene, game: GameSpec, view: View) -> list[Row]:
    """Rows of all layers jointly and of each; of a static adversary too, where the view has a defense."""
    assert isinstance(game, LabelGame)
    places, classes = scene.places(view), scene.session.records.classes
    lines = scene.lines(places)
    name = label.ADVERSARY if view.records == 1 else COMBINED
    missing = scene.not_captured(view.name, game, [name], lambda layer: shared(view, layer))
    why = scene.why_not(view, places) or why_not_seen(scene, view)
    why = why or ("the targets are no classes" if classes is None else "")
    if classes is None or why:
        return scene.lost(view.name, game, [name], lines, why) + missing
    groups = groups_of(view, len(places))
    if view.records > 1:
        return _sums(scene, game, view, places, groups) + missing
    rows = []
    for knowledge, who in players(scene, view, places):
        name, found = label.measure(who, scene.targets, classes, groups, scene.seed)
        rows += scene.rows(view.name, game, Asked(name, knowledge), lines, found)
    return rows + missing


def _sums(scene: Scene, game: LabelGame, view: View, places: list[int], groups: list[list[int]]) -> list[Row]:
    seen, lines = sights(scene, view, places), scene.lines(places)
    held_out = HeldOut(scene.session.batch(scene.session.others)[1].cpu(), cache(partial(wider, scene, view, places)))
    observed = ObservedView(
        view, seen.now, seen.known, seen.plain, groups, scene.seed, batches=game.fit_batches, held_out=held_out
    )
    found = label.measure_sums(scene.targets, observed)
    by_key = {who.key: who for who in asked([COMBINED], seen.plain)}
    return [row for key, each in found.items() for row in scene.rows(view.name, game, by_key[key], lines, each)]
