"""How much do the data of a record and the gradient of its batch have in common?"""

from __future__ import annotations

from ptaudit.context.epoch_context import Scene
from ptaudit.context.layer_patterns import (
    shared,
)
from ptaudit.estimators.names import OPTIONS
from ptaudit.games.common.observed import observe, why_not
from ptaudit.games.identity.measure import noise_ceiling
from ptaudit.games.mutual_information import measure as mutual_information
from ptaudit.spec.catalog import CHANNEL
from ptaudit.spec.model import GameSpec, MutualInformationGame
from ptaudit.tables.row import Row
from ptaudit.views import View


def play(scene: Scene, game: GameSpec, view: View) -> list[Row]:
    """Rows of all layers jointly and of each, by every estimator; the upper bound where the view has noise."""
    assert isinstance(game, MutualInformationGame)
    places = scene.places(view)
    lines = scene.lines(places)
    missing = scene.not_captured(view.name, game, game.estimator, lambda layer: shared(view, layer))
    if why := why_not(scene, view, places):
        return scene.lost(view.name, game, game.estimator, lines, why) + missing
    seen = observe(scene, view, places)
    # The joint row of the sketches is its last one: all layers side by side, or with noise the whole gradient's.
    order = [group[-1] for group in seen.groups]
    options: dict[str, dict[str, int | str]] = {name: _options(game, name) for name in game.estimator}
    sizes = [line.parameters for line in lines]
    found = mutual_information.measure(
        seen.tokens,
        scene.features(game.features),
        seen.records,
        view,
        lambda views: seen.encode(views)[order],
        [noise_ceiling(view, size) for size in sizes],
        options,
        scene.seed,
        seen.sight,
    )
    rows = [row for name in game.estimator for row in scene.rows(view.name, game, name, lines, found[name])]
    if view.noise_std > 0.0:
        bound = {"upper_bits": mutual_information.upper(view, sizes)}
        rows += scene.rows(view.name, game, CHANNEL, lines, bound)
    return rows + missing


def _options(game: MutualInformationGame, estimator: str) -> dict[str, int | str]:
    """What the spec says of an estimator's options; the others are as the estimator has them."""
    return {name: getattr(game, name) for name in OPTIONS[estimator] if hasattr(game, name)}
