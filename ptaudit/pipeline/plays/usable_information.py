"""How much of a record's secret can a family of predictors read from the gradient of its batch?"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from ptaudit.games import usable_information
from ptaudit.pipeline.plays.observed import observe, why_not
from ptaudit.pipeline.scene import Scene
from ptaudit.pipeline.session import shared
from ptaudit.spec.model import GameSpec, UsableInformationGame
from ptaudit.tables.row import Row
from ptaudit.views import View


def play(scene: Scene, game: GameSpec, view: View) -> list[Row]:
    """Rows of all layers jointly and of each, by every family."""
    assert isinstance(game, UsableInformationGame)
    places = scene.places(view)
    lines = scene.lines(places)
    missing = scene.not_captured(view.name, game, game.family, lambda layer: shared(view, layer))
    secret = _label(scene) if game.secret == "label" else _attribute(scene, game)
    why = why_not(scene, view, places) or ("a label for each record is needed" if secret.dim() > 1 else "")
    if why:
        return scene.lost(view.name, game, game.family, lines, why) + missing
    seen = observe(scene, view, places)
    found = usable_information.measure(
        seen.tokens, secret, seen.records, view, seen.encode, seen.groups, game.family, scene.seed
    )
    return [row for name in game.family for row in scene.rows(view.name, game, name, lines, found[name])] + missing


def _label(scene: Scene) -> Tensor:
    return scene.targets


def _attribute(scene: Scene, game: UsableInformationGame) -> Tensor:
    """The attribute's numbers; classes for text, truth values and whole numbers."""
    spec = scene.session.spec
    column = scene.session.records.columns[game.attribute or spec.data.attributes[0]][scene.session.members]
    if column.dtype.kind == "f":
        return torch.from_numpy(column.astype(np.float32)).to(scene.inside.values.device)
    _, classes = np.unique(column.astype(str), return_inverse=True)
    return torch.from_numpy(classes.astype(np.int64)).to(scene.inside.values.device)
