"""What an audit will be able to show: each game foretells its own limits, and gates are held against them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace

from ptaudit.auditing.warnings.subject import Subject
from ptaudit.context.layer_patterns import shared
from ptaudit.games.game_play import play_of
from ptaudit.gate.cases import covers
from ptaudit.gate.undecided import two_digits
from ptaudit.report.limits import GateLimit, LimitEntry
from ptaudit.spec.audit import GateSpec
from ptaudit.spec.catalog import JOINT, MODEL_VIEW
from ptaudit.spec.game import GameSpec
from ptaudit.stats.foretold import Foretold
from ptaudit.stats.simultaneous import sidak_tail, t_ratio
from ptaudit.views import View

_MOST = 1e9
"""More units than this nobody has."""


def foretell(about: Subject) -> tuple[tuple[LimitEntry, ...], tuple[GateLimit, ...]]:
    """What each game of the training as it is will be able to show on each view, and which gates will be undecided."""
    told = [(game, view, one) for game, view in _played(about) for one in _of(about, game, view)]
    gates = about.session.spec.gates
    verdicts = [(gate, _of_gate(about, gate, told)) for gate in gates if gate.kind != "max_increase"]
    limits = tuple(_entry(game, view, one) for game, view, one in told)
    return limits, tuple(verdict for _, verdict in verdicts if verdict is not None)


Told = tuple[GameSpec, View | None, Foretold]
"""What is foretold of a game on a view; None for the model."""


def _played(about: Subject) -> Iterator[tuple[GameSpec, View | None]]:
    for game in about.session.spec.games:
        if game.on_views:
            yield from ((game, view) for view in about.session.views)
        if game.on_model:
            yield game, None


def _of(about: Subject, game: GameSpec, view: View | None) -> Iterator[Foretold]:
    """What a game foretells, its bits up to what a view lets through; or that it foretells nothing."""
    play, none = play_of(game), True
    for one in play.foretell(about.session, game, view):
        none = False
        if view is not None and one.metric == "bits" and one.known:
            layers = (layer.parameters for layer in about.layers if shared(view, layer.name))
            most = play.most_bits(about.session, game, view, sum(layers))
            one = one if most is None else replace(one, ceiling=min(most, one.ceiling))
        yield one
    if none:
        yield Foretold()


def _entry(game: GameSpec, view: View | None, one: Foretold) -> LimitEntry:
    name = MODEL_VIEW if view is None else view.name
    numbers = one.null, one.detectable, one.ceiling
    return LimitEntry(game.title, name, one.metric, one.adversaries, one.n, game.counts, *numbers, one.why_not)


def _of_gate(about: Subject, gate: GateSpec, told: Sequence[Told]) -> GateLimit | None:
    """What stands against a gate: rows that will be inconclusive, else those that need most to be told from a guess."""
    mine = [(game, one) for game, view, one in told if _looks_at(gate, game, view, one)]
    for _, one in mine:
        if one.why_not:
            return GateLimit(gate.id, f"cannot pass: {gate.metric} on {gate.view} will be inconclusive: {one.why_not}")
    rows = _rows(about, gate)
    times = float(t_ratio(sidak_tail(rows), math.inf))
    asking = [(one.needed(_limit(gate, one), times), game, one) for game, one in mine if one.known]
    needed, game, one = max(asking, key=lambda each: each[0] / each[2].n, default=(0.0, None, Foretold()))
    if game is None or not one.n < needed < _MOST:
        return None
    enough, among = two_digits(needed), "" if rows == 1 else f" in one of {rows} rows"
    return GateLimit(
        gate.id,
        f"will probably be undecided, unless far more leaks: {gate.kind} {gate.limit:g} is below what "
        f"{one.n} {game.counts} can tell from a guess{among} (about {one.seen_by(times):.2g}); "
        f"about {enough} {game.counts} would do",
        enough,
    )


def _limit(gate: GateSpec, one: Foretold) -> float:
    """The limit of a gate as a value."""
    return gate.limit * one.ceiling if gate.kind == "max_share" else gate.limit


def _looks_at(gate: GateSpec, game: GameSpec, view: View | None, one: Foretold) -> bool:
    """Whether a gate has rows of which this is foretold."""
    there = (game.title, MODEL_VIEW if view is None else view.name) == (gate.game, gate.view)
    about_it = one.metric in ("", gate.measure)
    return there and about_it and (gate.adversary is None or not one.adversaries or gate.adversary in one.adversaries)


def _rows(about: Subject, gate: GateSpec) -> int:
    """How many rows a gate is decided on at once, those of one adversary."""
    spec = about.session.spec
    layers = [JOINT, *(layer.name for layer in about.layers if layer.capture != "none")]
    epochs = len(spec.audited_epochs) if gate.epoch in ("all", "max") else 1
    return max(1, epochs * sum(covers(gate.over, name) for name in layers))
