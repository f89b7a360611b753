"""What the games of an audit cost: they are played on few layers and records, and scaled to all."""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TypeVar

import numpy as np
import torch

from ptaudit.attacks.whole import noisy_cells, root_of
from ptaudit.auditing.cost_probe import CostProbe
from ptaudit.auditing.opening import defended_sessions
from ptaudit.auditing.reference import queries_of
from ptaudit.context.epoch_context import EpochContext, RecordsAtEpoch
from ptaudit.context.observations import undefended
from ptaudit.context.reference import ReferenceModels
from ptaudit.context.session import Session
from ptaudit.games.common.observed_view import encoded_view, why_not_encoded
from ptaudit.games.game_play import play_of, run_game
from ptaudit.spec.game import GameSpec
from ptaudit.training.fleet.assignment import assignment
from ptaudit.training.fleet.fleet import ReferenceSignals
from ptaudit.training.fleet.signals import observed_alone
from ptaudit.training.trajectory import copy_of_state
from ptaudit.views import View
from ptaudit.views.replayed import why_not_shown

T = TypeVar("T")

FEW, SOME = 2, 6
"""Layers of the two samples of many: the difference is what each further layer costs."""

SECONDS = 8.0
"""Of a processor on playing, after which only games are played that have not been played at all."""

_PER_COORDINATE = 3


@dataclass(frozen=True)
class GameOnView:
    """A game on a view.

    Attributes:
        session: of the training that it belongs to, with or without a defense.
        game: the game.
        view: the view.
    """

    session: Session
    game: GameSpec
    view: View

    @property
    def key(self) -> tuple[object, ...]:
        """Equal where the cost is: names and strengths of defenses make no difference."""
        view = self.view
        sizes = (0, 0, 0) if self.game.is_of_noise else (view.records, view.batches, view.rounds)
        shape = (*sizes, view.layers, view.noise_std > 0.0, view.clip if self.game.is_of_noise else view.clip is None)
        return self.game.title, *shape, type(view.defense), type(view.update)

    @property
    def players(self) -> int:
        """One who knows of a defense, and one who does not."""
        return 1 if undefended(self.view) == self.view else 2

    def apart(self, other: GameOnView) -> float:
        """How different another kind of the same game is."""
        sizes = (math.log2(kind.view.records * kind.view.rounds) for kind in (self, other))
        return abs(next(sizes) - next(sizes)) + 2.0 * (self.key[5:] != other.key[5:])


def games_seconds(probe: CostProbe) -> float:
    """Seconds of the games of one epoch, in the training as it is and in those with a defense.

    Every game is played once, on the largest view that adds up, and on single records, which takes little; then on
    other kinds of views, the most frequent first, for `SECONDS`. What is left is taken to cost what the most similar
    kind did.

    Args:
        probe: of the audit.
    """
    torch.optim.SGD([torch.zeros(1, requires_grad=True)])  # the first optimizer imports a lot
    sessions = [probe.session, *defended_sessions(probe.session)]
    every = [kind for session in sessions for kind in _kinds(session)]
    count = Counter(kind.key for kind in every)
    known: dict[str, list[tuple[GameOnView, float]]] = {}
    spent = total = 0.0
    for kind in _in_order(every, count):
        alike, looking = known.setdefault(kind.game.title, []), _looking(kind, probe)
        cheap = kind.view.linear and kind.view.records == 1
        if alike and (_needs_other_model(probe, kind) or (not cheap and spent + looking > SECONDS)):
            near, seconds = min(alike, key=lambda pair: kind.apart(pair[0]))
            seconds = seconds * kind.players / near.players + max(0.0, looking - _looking(near, probe))
        else:
            began = time.process_time()
            seconds = _kind_seconds(probe, kind)
            spent += time.process_time() - began
            alike.append((kind, seconds))
        total += count[kind.key] * seconds
    once_each = sum(_model_seconds(probe, game) for game in probe.session.spec.games)
    if any(not kind.game.needs_encoder for kind in every):
        once_each += probe.gradient_seconds * len(probe.session.members)
    return total + len(sessions) * once_each


def _kinds(session: Session) -> Iterator[GameOnView]:
    every = (GameOnView(session, game, view) for view in session.views for game in session.spec.games if game.on_views)
    shared = set()
    for kind in every:
        if kind.game.is_of_noise and ((kind.view.linear and not kind.view.noise_std) or kind.key in shared):
            continue
        shared.add(kind.key)
        yield kind


def _in_order(every: Sequence[GameOnView], count: Counter[tuple[object, ...]]) -> list[GameOnView]:
    """One of each kind: for every game the largest view that adds up, then the most frequent ones."""
    different = list({kind.key: kind for kind in reversed(every)}.values())
    largest = sorted(different, key=lambda kind: (kind.view.linear, kind.view.records * kind.view.rounds))
    first = list({kind.game.title: kind for kind in largest}.values())
    others = [kind for kind in different if kind not in first]
    return [*first, *sorted(others, key=lambda kind: (-count[kind.key], kind.view.records))]


def _needs_other_model(probe: CostProbe, kind: GameOnView) -> bool:
    """Whether a defense is about a model that is trained with it alone, as an information bottleneck is."""
    if kind.session is probe.session or kind.view.linear:
        return False
    return bool(why_not_shown(kind.view, probe.model, probe.session.records.classes))


def _looking(kind: GameOnView, probe: CostProbe) -> float:
    """Seconds of taking the gradients of batches, where a view does not add up."""
    if kind.view.linear or kind.game.is_of_noise:
        return 0.0
    return kind.players * kind.game.batches * kind.view.records * probe.read_seconds


def _kind_seconds(probe: CostProbe, kind: GameOnView) -> float:
    """Of all layers and records: of many layers along the line through two samples, of few in proportion."""
    layers = len(probe.places(kind.view))
    if not layers:
        return 0.0
    few = FEW if layers > 2 * FEW else max(1, layers // 2)
    seconds = _played(probe, kind, few)
    if kind.game.reads_model:
        return seconds
    if layers <= 2 * FEW:
        # All layers jointly are a line too.
        return seconds * (layers + 1) / (few + 1) + _roots_seconds(probe, kind, layers)
    some = min(SOME, layers - 1)
    more = _played(probe, kind, some)
    each = max(0.0, more - seconds) / (some - few)
    return more + (layers - some) * each + _roots_seconds(probe, kind, layers)


def _played(probe: CostProbe, kind: GameOnView, layers: int) -> float:
    """With some of the layers, and all records; larger batches than were read for take as much longer."""
    view = kind.view if kind.game.is_of_noise else probe.smaller(kind.view)
    context = probe.context(kind.session, view, layers)
    more = len(kind.session.members) / len(context.session.members)
    seconds = 0.0
    for game, growth in _alone(kind.game, view):
        if game.needs_encoder:
            seconds += _encoder_seconds(context, kind, view)
        for trial, times in play_of(game).trials(kind.session, game):
            seconds += times * once(partial(run_game, context, trial, view))[1] * more**growth
    return max(0.0, seconds) * kind.view.records / view.records


def _encoder_seconds(context: EpochContext, kind: GameOnView, view: View) -> float:
    """Of training the encoder of a view: the share of one of the games that look through it.

    It takes as many steps of any records.
    """
    places = context.places(view)
    if context.encoders is None or why_not_encoded(context, view, places):
        return 0.0
    sharing = sum(game.needs_encoder for game in kind.session.spec.games)
    return once(lambda: encoded_view(context, view, places))[1] / sharing


def _alone(game: GameSpec, view: View) -> list[tuple[GameSpec, float]]:
    """The game with each of its estimators alone, and the power of the records that their time grows with."""
    parts = game.alone()
    # Of a game without estimators records alone are played one by one.
    whole = view.records == 1 and parts[0][0] is game and not game.is_of_noise
    return [(game, 1.0)] if whole else parts


def _roots_seconds(probe: CostProbe, kind: GameOnView, layers: int) -> float:
    """What the identity game takes beyond its growth for the roots of inner products of all records, under noise."""
    n, few = len(kind.session.members), len(probe.inside.loss)
    if not play_of(kind.game).multiplies_all(kind.game) or not kind.view.noise_std or n <= 2 * few:
        return 0.0
    if not noisy_cells([probe.gradients[i] for i in probe.places(kind.view)], n):
        return 0.0
    rows = torch.randn(few, few, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    return layers * once(lambda: root_of(rows @ rows.T))[1] * (n / few) ** 3


def _model_seconds(probe: CostProbe, game: GameSpec) -> float:
    """Of a game on the model, on tokens of no record: as many as it needs, if there will be so many."""
    session, inside = probe.session, probe.inside
    if not game.on_model:
        return 0.0
    layers, n, dim = inside.values.shape
    n = max(n, min(len(session.members), _PER_COORDINATE * dim))
    values = torch.randn(layers, n, dim, generator=torch.Generator().manual_seed(0))
    some = replace(session, members=session.members[:n], others=session.others[: len(probe.outside.loss)])
    some = replace(some, reference=_reference(probe, some))
    tokens = replace(inside, values=values.to(inside.values.device))
    before = copy_of_state(probe.model) if game.needs_earlier_weights else None
    at = (1, 0, probe.model, probe.reader.layers, tokens, probe.outside, probe.reader)
    context = EpochContext(some, *at, before=before, course=[_course(len(some.members) + len(some.others))])
    more = (len(session.members) + len(session.others)) / (n + len(some.others))
    return once(lambda: run_game(context, game))[1] * more


def _course(n: int) -> RecordsAtEpoch:
    """Losses and gradient norms of n records that nobody has read."""
    some = np.random.default_rng(0).exponential(size=(2, n))
    return RecordsAtEpoch(some[0], some[1])


def _reference(probe: CostProbe, session: Session) -> ReferenceModels | None:
    """Reference models that say of the records what the model says, and noise, at two epochs."""
    if session.spec.fleet is None:
        return None
    models, index = session.spec.fleet.models, np.sort(np.concatenate([session.members, session.others]))
    outputs, losses = observed_alone(probe.model, session.loss, session.batch, index)
    noise, queries = np.random.default_rng(0), queries_of(session.spec)
    outputs, losses = (np.concatenate([part] * queries) for part in (outputs, losses))
    said = ReferenceSignals(
        (0, 1),
        outputs + noise.standard_normal((models, 2, *outputs.shape), dtype=np.float32),
        np.abs(losses + noise.standard_normal((models, 2, *losses.shape), dtype=np.float32)),
        assignment(models, len(index), 0),
        (),
    )
    return ReferenceModels(said, index)


def once(work: Callable[[], T]) -> tuple[T, float]:
    """What a piece of work returns, and the seconds it took."""
    began = time.perf_counter()
    found = work()
    return found, time.perf_counter() - began
