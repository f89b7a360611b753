"""Which layer does a secret move?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Literal

import torch

from ptaudit.auditing.data_checks import column_of
from ptaudit.context.attribute_encoding import attribute_secret
from ptaudit.context.epoch_context import Line, Scene, joint_line, layer_line
from ptaudit.context.layer_patterns import (
    audited,
)
from ptaudit.errors import ModelError
from ptaudit.games.localisation.measure import METRICS, distances, sensitivities
from ptaudit.gradients.sensitivity import jacobian_norms
from ptaudit.spec.catalog import MODEL_VIEW
from ptaudit.spec.inference import LocalisationGame
from ptaudit.spec.play import GameSpec
from ptaudit.spec.secrets import about_attribute, attribute_of
from ptaudit.stats.estimate import Estimate, inconclusive, not_captured
from ptaudit.tables.row import Row
from ptaudit.views.joint import mixed

_Of = Literal["input", "target"]


def play(scene: Scene, game: GameSpec) -> list[Row]:
    """Rows of all layers jointly and of each, for every metric."""
    assert isinstance(game, LocalisationGame)
    missing = list(_not_captured(scene, game))
    layers = scene.inside.layers
    lines = [joint_line(layers, range(len(layers))), *map(layer_line, layers)]
    if not layers:
        lost = [inconclusive("no layer is captured")]
        return [*_rows(scene, game, lines, dict.fromkeys(METRICS, lost)), *missing]
    found = {
        "sensitivity": _moved(scene, game, *_place(scene, game)),
        "input_sensitivity": _moved(scene, game, "input"),
        **_apart(scene, game),
    }
    return [*_rows(scene, game, lines, found), *missing]


def _place(scene: Scene, game: LocalisationGame) -> tuple[_Of, slice | None, str]:
    """What the gradient is differentiated by, which numbers of it, and why it cannot be; empty if it can."""
    if not about_attribute(game):
        return "target", None, ""
    name = attribute_of(game, scene.session.spec)
    field = scene.session.records.fields.get(name)
    if field is None:
        return "input", None, f"`{name}` is no input with few values: there is nothing to differentiate by"
    return "input", slice(field.start, field.start + field.levels.shape[1]), ""


def _moved(
    scene: Scene, game: LocalisationGame, of: _Of, columns: slice | None = None, why_not: str = ""
) -> list[Estimate]:
    """Sensitivity of all layers jointly and of each."""
    session, names = scene.session, [layer.name for layer in scene.inside.layers]
    try:
        if why_not:
            raise ModelError(why_not)
        norms = jacobian_norms(
            scene.model,
            session.loss,
            names,
            *session.batch(session.members[: game.records]),
            of=of,
            columns=columns,
            probes=game.probes,
            seed=scene.seed,
            device=session.device,
        )
    except ModelError as error:
        return [inconclusive(error.what)] * (1 + len(names))
    return sensitivities(norms, scene.seed)


def _apart(scene: Scene, game: LocalisationGame) -> Mapping[str, list[Estimate]]:
    """Distances between the groups of the members that belong to one, in all layers jointly and in each."""
    session, device = scene.session, scene.inside.values.device
    secret = attribute_secret(column_of(session, game)[session.members])
    assert secret.names is not None  # a number is refused before anything is trained
    known = torch.from_numpy(secret.known).to(device)
    groups = torch.from_numpy(secret.values).to(device)[known]
    tokens = scene.inside.values[:, known].double()
    return distances(torch.cat([mixed(tokens)[None], tokens]), groups, secret.names, scene.seed)


def _rows(
    scene: Scene, game: LocalisationGame, lines: Sequence[Line], found: Mapping[str, Sequence[Estimate]]
) -> Iterator[Row]:
    """Rows line by line, each metric by the one who measures it."""
    for i, line in enumerate(lines):
        for metric, adversary in METRICS.items():
            yield from scene.rows(MODEL_VIEW, game, adversary, [line], {metric: [found[metric][i]]})


def _not_captured(scene: Scene, game: LocalisationGame) -> Iterator[Row]:
    """Rows of the layers whose gradient could not be read."""
    for layer in scene.layers:
        if layer.capture == "none" and audited(scene.session.spec, layer.name):
            why = not_captured(layer.reason)
            yield from _rows(scene, game, [layer_line(layer)], {metric: [why] for metric in METRICS})
