"""With which share of records with a property was the batch drawn?"""

from __future__ import annotations

import torch

from ptaudit.auditing.data_checks import column_of
from ptaudit.context.attribute_encoding import having
from ptaudit.context.epoch_context import Scene
from ptaudit.games.common import batch_secret_play as inference
from ptaudit.games.distribution import measure as distribution
from ptaudit.spec.inference import DistributionGame
from ptaudit.spec.play import GameSpec
from ptaudit.tables.row import Row
from ptaudit.views import View


def play(scene: Scene, game: GameSpec, view: View) -> list[Row]:
    """Rows of all layers jointly and of each, by every adversary."""
    assert isinstance(game, DistributionGame)
    session = scene.session
    every = torch.from_numpy(having(column_of(session, game), game.values))
    has, others = every[session.members], every[session.others]

    def measure(table: inference.Table) -> inference.Found:
        return distribution.measure(has, game.ratios, table.observed(view, game, scene.seed, others), game.adversary)

    return inference.play(scene, game, view, game.adversary, measure)
