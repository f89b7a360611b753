"""Gates that decide nothing."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from ptaudit.auditing.rows import has_mechanism
from ptaudit.auditing.warnings.subject import Subject
from ptaudit.context.layer_patterns import shared
from ptaudit.context.session import Session
from ptaudit.games.game_play import play_of
from ptaudit.gate import reachable
from ptaudit.spec.base import Part
from ptaudit.spec.catalog import MODEL_VIEW
from ptaudit.spec.metrics import metric
from ptaudit.spec.model import GateSpec
from ptaudit.tables.run import LayerEntry
from ptaudit.views import View


def idle_gates(about: Subject) -> Iterator[str]:
    """Gates that decide nothing."""
    session = about.session
    for gate in session.spec.gates:
        ceiling = _ceiling(session, gate, about.layers)
        text = reachable(gate, ceiling=ceiling) if ceiling is not None else None
        if text:
            yield text
        if gate.needs == "mechanism" and not _is_protected(session, gate):
            yield f"gate {gate.id} can never pass: it needs a mechanism, and view {gate.view} has no noise"


def _is_protected(session: Session, gate: GateSpec) -> bool:
    """Whether noise of known size stands behind what a gate looks at."""
    trained = session.spec.defended.get(gate.trained_with, session.spec)
    game = next(game for game in session.spec.games if game.title == gate.game)
    defense: Part | None = trained.train.defense
    if gate.view != MODEL_VIEW:
        defense = next(view.defense for view in trained.audit.views if view.name == gate.view)
    return has_mechanism(defense, game)


def _ceiling(session: Session, gate: GateSpec, layers: Sequence[LayerEntry]) -> float | None:
    """The largest value that the gate's metric can have on its view; None where it is not known beforehand."""
    most = metric(gate.measure).most
    if gate.measure != "bits":
        return most if math.isfinite(most) else None
    if gate.view == MODEL_VIEW:  # whether a record was in the training
        return 1.0
    trained = session.spec.defended.get(gate.trained_with, session.spec)
    view = View.of(next(view for view in trained.audit.views if view.name == gate.view))
    game = next(game for game in session.spec.games if game.title == gate.game)
    largest = max((layer.parameters for layer in layers if shared(view, layer.name)), default=1)
    total = sum(layer.parameters for layer in layers)
    return play_of(game).most_bits(session, game, view, largest if gate.over == "layers" else total)
