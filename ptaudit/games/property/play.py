"""Does the batch hold a record with the property?"""

from __future__ import annotations

import torch

from ptaudit.auditing.data_checks import column_of
from ptaudit.context.attribute_encoding import having
from ptaudit.context.epoch_context import Scene
from ptaudit.games.common import batch_secret_play as inference
from ptaudit.games.property import measure as property_game
from ptaudit.spec.inference import PropertyGame
from ptaudit.spec.play import GameSpec
from ptaudit.tables.row import Row
from ptaudit.views import View


def play(scene: Scene, game: GameSpec, view: View) -> list[Row]:
    """Rows of all layers jointly and of each, by every adversary."""
    assert isinstance(game, PropertyGame)
    session = scene.session
    every = torch.from_numpy(having(column_of(session, game), game.values))
    has, others = every[session.members], every[session.others]

    def measure(table: inference.Table) -> inference.Found:
        return property_game.measure(has, table.observed(view, game, scene.seed, others), game.adversary)

    return inference.play(scene, game, view, game.adversary, measure)
