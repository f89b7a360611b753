"""How much of a record's secret can a family of predictors read from the gradient of its batch?"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from ptaudit.context.attribute_encoding import attribute_secret
from ptaudit.context.epoch_context import Scene
from ptaudit.context.layer_patterns import (
    shared,
)
from ptaudit.games.common.observed import observe, why_not
from ptaudit.games.usable_information import measure as usable_information
from ptaudit.spec.model import GameSpec, UsableInformationGame
from ptaudit.stats.estimate import Estimate
from ptaudit.tables.row import Row
from ptaudit.views import View

_CLASS = re.compile(r"\bclass (\d+)\b")


def play(scene: Scene, game: GameSpec, view: View) -> list[Row]:
    """Rows of all layers jointly and of each, by every family. Records that have no such secret take no part."""
    assert isinstance(game, UsableInformationGame)
    places = scene.places(view)
    lines = scene.lines(places)
    missing = scene.not_captured(view.name, game, game.family, lambda layer: shared(view, layer))
    secret, known, names = _label(scene) if game.secret == "label" else _attribute(scene, game)
    why = why_not(scene, view, places) or ("a label for each record is needed" if secret.dim() > 1 else "")
    if why:
        return scene.lost(view.name, game, game.family, lines, why) + missing
    seen = observe(scene, view, places)
    records = seen.records[known[seen.records]]
    found = usable_information.measure(
        seen.tokens, secret, records, view, seen.encode, seen.groups, game.family, scene.seed, seen.sight
    )
    rows = []
    for family in game.family:
        named = {metric: [_named(e, names) for e in estimates] for metric, estimates in found[family].items()}
        rows += scene.rows(view.name, game, family, lines, named)
    return rows + missing


def _label(scene: Scene) -> tuple[Tensor, Tensor, None]:
    return scene.targets, torch.ones(len(scene.targets), dtype=torch.bool), None


def _attribute(scene: Scene, game: UsableInformationGame) -> tuple[Tensor, Tensor, Sequence[str] | None]:
    """The attribute of every record, whether it has one, and what its classes are called."""
    session = scene.session
    column = session.records.columns[game.attribute or session.spec.data.attributes[0]]
    secret = attribute_secret(column[session.members])
    values = torch.from_numpy(secret.values).to(scene.inside.values.device)
    return values, torch.from_numpy(secret.known), secret.names


def _named(estimate: Estimate, names: Sequence[str] | None) -> Estimate:
    """With a class in the status called as in the data."""
    if names is None or estimate.conclusive:
        return estimate
    return replace(estimate, status=_CLASS.sub(lambda found: f"class `{names[int(found[1])]}`", estimate.status))
