"""Whether a gate can match a row, as far as the spec alone tells."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

from ptaudit.spec.audit import GateSpec, ViewSpec
from ptaudit.spec.base import fault, nearest
from ptaudit.spec.catalog import MODEL_VIEW, NO_DEFENSE
from ptaudit.spec.game import Loc
from ptaudit.spec.metrics import metric
from ptaudit.spec.registry import GAMES

if TYPE_CHECKING:
    from ptaudit.spec.model import Spec


def check_gate(gate: GateSpec, at: Loc, spec: Spec) -> None:
    """Refuses a gate that can match no row."""
    played = {game.title: game for game in spec.games}
    names = {**{name: name for name in GAMES}, **{title: game.name for title, game in played.items()}}
    known = [f"{title}.{metric}" for title, name in names.items() for metric in GAMES[name].metrics]
    if gate.metric not in known:
        raise fault(f"unknown metric `{gate.metric}`", at=(*at, "metric"), remedy=nearest(gate.metric, known))
    players = GAMES[names[gate.game]].all_players()
    if gate.adversary is not None and gate.adversary not in players:
        what = f"game `{gate.game}` has no adversary `{gate.adversary}`"
        raise fault(what, at=(*at, "adversary"), remedy=nearest(gate.adversary, players))
    if gate.max_share is not None and gate.measure != "bits" and not math.isfinite(metric(gate.measure).most):
        what = f"metric `{gate.metric}` has no ceiling to have a share of"
        raise fault(what, at=(*at, "max_share"), remedy="use max")
    if gate.game not in played:
        raise fault(
            f"gate `{gate.id}` is on game `{gate.game}`, which is not played",
            at=(*at, "metric"),
            remedy=f"add it to audit.games; played: {', '.join(played)}",
        )
    views = _views(gate, _trained(gate, at, spec))
    if gate.view not in views:
        under = "" if gate.trained_with == NO_DEFENSE else f" of the training with `{gate.trained_with}`"
        what = f"gate `{gate.id}` is on view `{gate.view}`{under}, on which game `{gate.game}` is not played"
        raise fault(what, at=(*at, "view"), remedy=nearest(gate.view, views) if views else None)
    epochs = spec.audited_epochs
    if isinstance(gate.epoch, int) and gate.epoch not in epochs:
        raise fault(
            f"gate `{gate.id}` is on epoch {gate.epoch}, which is not audited",
            at=(*at, "epoch"),
            remedy=f"audited: {', '.join(map(str, epochs))}",
        )
    played[gate.game].check_gate(gate, at, views[gate.view], spec)


def _trained(gate: GateSpec, at: Loc, spec: Spec) -> Spec:
    """The spec of the training that a gate is on."""
    trainings = {NO_DEFENSE: spec, **spec.defended}
    if gate.trained_with not in trainings:
        what = f"gate `{gate.id}` is on a training with `{gate.trained_with}`, which is not in `defenses`"
        raise fault(what, at=(*at, "trained_with"), remedy=nearest(gate.trained_with, trainings))
    return trainings[gate.trained_with]


def _views(gate: GateSpec, trained: Spec) -> Mapping[str, ViewSpec | None]:
    """The views that the gate's game is played on in a training; None for the model."""
    game = next((game for game in trained.games if game.title == gate.game), None)
    if game is None:
        return {}
    views: dict[str, ViewSpec | None] = {view.name: view for view in trained.audit.views} if game.on_views else {}
    return views | ({MODEL_VIEW: None} if game.on_model else {})
