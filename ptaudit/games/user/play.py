"""Whose records is the batch made of?"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from ptaudit.context.epoch_context import Scene
from ptaudit.context.observations import adaptive, before, static
from ptaudit.games.common import batch_secret_play as inference
from ptaudit.games.common.batch_secret import Found
from ptaudit.games.user import measure as user
from ptaudit.spec.inference import UserGame
from ptaudit.spec.play import GameSpec
from ptaudit.tables.row import Row
from ptaudit.views import View


def play(scene: Scene, game: GameSpec, view: View) -> list[Row]:
    """Rows of all layers jointly and of each, by every adversary."""
    assert isinstance(game, UserGame)
    session = scene.session
    assert session.spec.data.user is not None
    column = session.records.columns[session.spec.data.user][session.members]
    users = torch.from_numpy(np.unique(column, return_inverse=True)[1])

    def measure(table: inference.Table) -> Found:
        groups, k, seed = table.groups, game.candidates, scene.seed
        known = (before(scene) if table.late else None) or scene
        who, unaware = adaptive(known, view, table.places), static(scene, view, table.places, table.late)
        if table.late:  # it prepares on what it computes, and plays on what is shown now
            who = replace(who, sight=table.sights.now, known=table.sights.known, algebra=None, late=True)
        found = user.measure(who, users, groups, k, seed)
        return found if unaware is None else found | user.measure(unaware, users, groups, k, seed)

    return inference.play(scene, game, view, user.ADVERSARIES, measure, of_matrices=(user.COMBINED,))
