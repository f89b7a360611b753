"""Whether a gate can match a row, as far as the spec alone tells."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from ptaudit.spec.audit import GateSpec, ViewSpec
from ptaudit.spec.base import fault, nearest
from ptaudit.spec.canaries import check_canary_gate
from ptaudit.spec.catalog import ADVERSARIES, CHANNEL, GAMES, MODEL_VIEW, NO_DEFENSE, TOKEN_GAMES
from ptaudit.spec.inference import InferenceGame
from ptaudit.spec.play import GameSpec

if TYPE_CHECKING:
    from ptaudit.spec.model import Spec


def check_gate(gate: GateSpec, at: tuple[str | int, ...], spec: Spec) -> None:
    """Refuses a gate that can match no row."""
    played = {game.title: game for game in spec.games}
    names = {**{name: name for name in GAMES}, **{title: game.name for title, game in played.items()}}
    known = [f"{title}.{metric}" for title, name in names.items() for metric in GAMES[name]]
    if gate.metric not in known:
        raise fault(f"unknown metric `{gate.metric}`", at=(*at, "metric"), remedy=nearest(gate.metric, known))
    name = names[gate.game]
    if gate.adversary is not None and gate.adversary not in ADVERSARIES[name]:
        what, remedy = (
            f"game `{gate.game}` has no adversary `{gate.adversary}`",
            nearest(gate.adversary, ADVERSARIES[name]),
        )
        raise fault(what, at=(*at, "adversary"), remedy=remedy)
    if gate.game not in played:
        raise fault(
            f"gate `{gate.id}` is on game `{gate.game}`, which is not played",
            at=(*at, "metric"),
            remedy=f"add it to audit.games; played: {', '.join(played)}",
        )
    views = _views(name, _trained(gate, at, spec), spec)
    if gate.view not in views:
        under = "" if gate.trained_with == NO_DEFENSE else f" of the training with `{gate.trained_with}`"
        what = f"gate `{gate.id}` is on view `{gate.view}`{under}, on which game `{gate.game}` is not played"
        raise fault(what, at=(*at, "view"), remedy=nearest(gate.view, views) if views else None)
    game = played[gate.game]
    if isinstance(game, InferenceGame) and game.weights == "late":
        what = f"gate `{gate.id}` is on game `{gate.game}`, whose adversary is wrong about the weights it looks at"
        raise fault(what, at=(*at, "metric"), remedy="gate a game with `weights: exact`: late ones decide nothing")
    epochs = spec.audited_epochs
    if isinstance(gate.epoch, int) and gate.epoch not in epochs:
        raise fault(
            f"gate `{gate.id}` is on epoch {gate.epoch}, which is not audited",
            at=(*at, "epoch"),
            remedy=f"audited: {', '.join(map(str, epochs))}",
        )
    if gate.measure == "upper_bits" and not _noisy(views[gate.view]):
        what = f"gate `{gate.id}`: metric `{gate.metric}` needs noise, which view `{gate.view}` has none of"
        raise fault(what, at=(*at, "metric"), remedy="give the view a defense with a noise_multiplier")
    if name == "canary" and spec.canaries is not None:
        trained, noisy = gate.view == MODEL_VIEW, _noisy(views[gate.view])
        check_canary_gate(gate, at, spec.canaries, trained, noisy, len(epochs))
    alone = _cannot_play(gate, played[gate.game], views[gate.view])
    if alone:
        what, remedy = alone
        raise fault(f"gate `{gate.id}`: adversary `{gate.adversary}` {what}", at=(*at, "adversary"), remedy=remedy)


def _trained(gate: GateSpec, at: tuple[str | int, ...], spec: Spec) -> Spec:
    """The spec of the training that a gate is on."""
    trainings = {NO_DEFENSE: spec, **spec.arms}
    if gate.trained_with not in trainings:
        what = f"gate `{gate.id}` is on a training with `{gate.trained_with}`, which is not in `defenses`"
        raise fault(what, at=(*at, "trained_with"), remedy=nearest(gate.trained_with, trainings))
    return trainings[gate.trained_with]


def _views(game: str, trained: Spec, spec: Spec) -> Mapping[str, ViewSpec | None]:
    """The views that a game is played on in one of the trainings of a spec; None for the model."""
    found: dict[str, ViewSpec | None] = {}
    if game in TOKEN_GAMES and not (game == "canary" and trained is not spec):
        found |= {view.name: view for view in trained.audit.views}
    if game not in TOKEN_GAMES or (game == "canary" and trained.canaries and trained.canaries.train):
        found[MODEL_VIEW] = None
    return found


def _cannot_play(gate: GateSpec, game: GameSpec, view: ViewSpec | None) -> tuple[str, str] | None:
    """Why the adversary of a gate has no row in its view, with the remedy; None if it has."""
    if gate.adversary is not None and game.adversaries is not None and gate.adversary not in game.adversaries:
        return "is not asked in its game", f"there are: {', '.join(game.adversaries)}"
    if gate.adversary == CHANNEL and gate.measure != "upper_bits":
        return f"does not report `{gate.measure}`", f"it reports {gate.game}.upper_bits"
    if gate.adversary not in (None, CHANNEL) and gate.measure == "upper_bits":
        return "reports no `upper_bits`", f"only `{CHANNEL}` does"
    if gate.adversary == "loss" and gate.over not in ("joint", "all"):
        return "plays on the whole model, not on layers", "set over: joint"
    if game.name != "identity" or view is None:
        return None
    if gate.adversary == "exact" and not _closed_form(view):
        remedy = "the posterior is in closed form only with batch_size 1 and without noise"
        return f"cannot play on view `{gate.view}`", remedy
    if gate.adversary in ("combined", "likelihood-ratio") and _closed_form(view):
        return f"does not play on view `{gate.view}`", "with batch_size 1 and without noise it is `exact`"
    return None


def _noisy(view: ViewSpec | None) -> bool:
    return view is not None and view.defense is not None and view.defense.noisy


def _closed_form(view: ViewSpec) -> bool:
    """Whether the adversary sees the token of one record as it is."""
    return view.records == 1 and view.linear and not _noisy(view)
