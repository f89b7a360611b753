"""Was a record trained on?"""

from __future__ import annotations

import torch

from ptaudit.context.epoch_context import Scene, joint_line, layer_line
from ptaudit.games.membership import measure as membership
from ptaudit.sketches.tokens import Tokens
from ptaudit.spec.catalog import ADVERSARIES, GAMES, MODEL_VIEW
from ptaudit.spec.model import GameSpec, Spec
from ptaudit.stats.estimate import inconclusive
from ptaudit.tables.row import Row
from ptaudit.views.joint import mixed


def play(scene: Scene, game: GameSpec) -> list[Row]:
    """Rows of all layers jointly and of each, by every adversary."""
    assert scene.outside is not None
    lines = [layer_line(layer) for layer in scene.inside.layers]
    lines.append(joint_line(scene.inside.layers, range(len(lines))))
    sides = [_side(tokens) for tokens in (scene.inside, scene.outside)]
    joint = len(lines) - 1
    found = membership.measure(sides[0], sides[1], joint, scene.seed)
    if reason := who_is_unknown(scene.session.spec):
        found = {key: dict.fromkeys(one, inconclusive(reason)) for key, one in found.items()}
    if not scene.inside.layers:
        unknown = dict.fromkeys(GAMES["membership"], inconclusive("no layer is captured"))
        found = {key: estimates if key[0] == "loss" else unknown for key, estimates in found.items()}
    rows: list[Row] = []
    for adversary, place in sorted(found, key=lambda key: (key[1] != joint, key[1])):
        one = {metric: [estimate] for metric, estimate in found[adversary, place].items()}
        rows += scene.rows(MODEL_VIEW, game, adversary, [lines[place]], one)
    return rows + scene.not_captured(MODEL_VIEW, game, ADVERSARIES["membership"][1:])


def who_is_unknown(spec: Spec) -> str:
    """Why nobody knows who was trained on; empty where it is known."""
    if spec.replay is None or spec.data.members or spec.data.non_members:
        return ""
    return "no index file says which records the checkpoints were trained on: name it in data.members"


def _side(tokens: Tokens) -> membership.Side:
    values = tokens.values.double()
    norms = torch.cat([tokens.norm_sq, tokens.total_norm_sq[None]])
    return membership.Side(torch.cat([values, mixed(values)[None]]), norms, tokens.loss)
