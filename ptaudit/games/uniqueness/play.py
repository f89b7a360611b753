"""How much does a record's gradient stand out from those of all others?"""

from __future__ import annotations

import torch

from ptaudit.context.epoch_context import Scene, joint_line, layer_line
from ptaudit.estimators import uniqueness
from ptaudit.spec.catalog import ADVERSARIES, MODEL_VIEW
from ptaudit.spec.model import GameSpec
from ptaudit.tables.row import JOINT, Row
from ptaudit.views.joint import mixed

(ADVERSARY,) = ADVERSARIES["uniqueness"]


def play(scene: Scene, game: GameSpec) -> list[Row]:
    """Rows of all layers jointly and of each."""
    missing = scene.not_captured(MODEL_VIEW, game, [ADVERSARY])
    layers = scene.inside.layers
    lines = [joint_line(layers, range(len(layers))), *map(layer_line, layers)]
    if not layers:
        return scene.lost(MODEL_VIEW, game, [ADVERSARY], lines, "no layer is captured") + missing
    values = scene.inside.values.double()
    found = uniqueness.measure(torch.cat([mixed(values)[None], values]), scene.seed)
    if scene.samples is not None and found["top_share"][0].conclusive:
        rank = uniqueness.ranks(uniqueness.scores(mixed(values)[None]))[0]
        scene.samples.add(scene.epoch, JOINT, game.title, "rank", rank)
    return scene.rows(MODEL_VIEW, game, ADVERSARY, lines, found) + missing
