"""What the games of an audit cost: each kind is timed on a sample."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from itertools import chain
from typing import TypeVar

import numpy as np
import torch

from ptaudit.games.identity import RECORDS_PER_MEMBER
from ptaudit.pipeline.plays import on_model, on_view
from ptaudit.pipeline.plays.observed import observe, why_not
from ptaudit.pipeline.scene import Scene
from ptaudit.pipeline.seed import encoders
from ptaudit.pipeline.session import Session
from ptaudit.progress import Silent
from ptaudit.spec.catalog import CRITICS, INFERENCE_GAMES
from ptaudit.spec.games import make_game
from ptaudit.spec.model import GameSpec, MutualInformationGame, UsableInformationGame
from ptaudit.tokens import TokenReader, Tokens
from ptaudit.views import View

T = TypeVar("T")

_FEW = 2
"""Records of a batch in which the others of a game are timed: a sample is enough for it."""
_REPEATS = 8
_PER_COORDINATE = 3
_LIKE_IDENTITY = frozenset({"identity", "membership"})
_OF_BATCHES = INFERENCE_GAMES | {"label"}
"""Games that are played by classifiers of batches."""


def games_seconds(session: Session, reader: TokenReader, model: torch.nn.Module, tokens: Tokens) -> float:
    """Seconds of the games of one epoch: each kind timed on a sample, scaled to the views.

    The cost of identity grows with the rows and hardly with the records. Membership costs about as much, so identity
    stands for both. All other games are taken to grow with the records, and what trains a network,
    for a number of steps that is bounded, with their square root.
    """
    games = session.spec.audit.games
    others = [game for game in games if game.name not in _LIKE_IDENTITY | _OF_BATCHES]
    alike = [game for game in games if game.name in _LIKE_IDENTITY]
    sample = replace(session, members=session.members[: len(tokens.loss)])
    scene = Scene(sample, 0, 0, model, reader.layers, tokens, None, reader, encoders=encoders(sample, Silent()))
    times = sum(len(session.views) if on_view(game) else 1 for game in alike)
    seconds = times * _identity_seconds(scene) if alike else 0.0
    for view in session.views if any(game.needs_encoder for game in others) else ():
        small = replace(view, batch_size=min(view.batch_size, _FEW), rounds=1)
        seconds += _encoder_seconds(scene, small)
        for single, growth in chain.from_iterable(map(_singles, others)):
            seconds += _view_seconds(scene, single, small) * (len(session.members) / len(tokens.loss)) ** growth
    once_each = sum(_model_seconds(scene, game, len(session.members)) for game in others)
    return _defended(session, seconds) + (1 + len(session.spec.defenses)) * once_each + _inference_seconds(scene)


def _defended(session: Session, seconds: float) -> float:
    """Of the views as they are and again under each defense: those with one of their own are played once."""
    views = session.spec.audit.views
    bare = sum(view.defense is None for view in views)
    return seconds * (1 + len(session.spec.defenses) * bare / max(1, len(views)))


def _inference_seconds(scene: Scene) -> float:
    """Of the games about a secret of a batch: as many of them are drawn from any records.

    One view is timed for each game, with few records in a batch. Under a defense a static adversary plays too.
    """
    spec = scene.session.spec
    plays = sum(2 if view.defense else 1 + 2 * len(spec.defenses) for view in spec.audit.views)
    view = View("small", batch_size=_FEW)
    return plays * sum(_view_seconds(scene, game, view) for game in spec.audit.games if game.name in _OF_BATCHES)


def _identity_seconds(scene: Scene) -> float:
    """Of one view, as large a one as the sample allows."""
    n, views = len(scene.inside.loss), scene.session.views
    playable = [view for view in views if RECORDS_PER_MEMBER * _taken(view) <= n]
    view = max(playable, key=_taken) if playable else View("small", batch_size=_FEW)
    game = make_game("identity")
    play = on_view(game)
    return once(lambda: play(scene, game, view))[1] if play else 0.0


def _encoder_seconds(scene: Scene, view: View) -> float:
    """Of training the encoder of a view, for all games that look through it; it takes as many steps of any records."""
    places = scene.places(view)
    if scene.encoders is None or why_not(scene, view, places):
        return 0.0
    return once(lambda: observe(scene, view, places))[1]


def _singles(game: GameSpec) -> list[tuple[GameSpec, float]]:
    """The game with each of its estimators or families alone, and the power of the records that its cost grows with."""
    if isinstance(game, MutualInformationGame):
        return [(game.model_copy(update={"estimator": [e]}), 0.5 if e in CRITICS else 1.0) for e in game.estimator]
    if isinstance(game, UsableInformationGame):
        return [(game.model_copy(update={"family": [f]}), 0.5 if f == "mlp" else 1.0) for f in game.family]
    return []


def _view_seconds(scene: Scene, game: GameSpec, view: View) -> float:
    """Of the sample's records; where a class has too few of them, of the sample several times over."""
    play = on_view(game)
    if play is None:
        return 0.0
    rows, seconds = once(lambda: play(scene, game, view))
    if any(row.measured for row in rows) or scene.encoders is not None:
        return seconds
    many = _repeated(scene, _REPEATS)
    return once(lambda: play(many, game, view))[1] / _REPEATS


def _repeated(scene: Scene, times: int) -> Scene:
    """The same sample several times over, with gradients that differ a little."""
    index = torch.arange(len(scene.inside.loss)).repeat(times)
    values = scene.inside.values[:, index]
    noise = torch.randn(values.shape, generator=torch.Generator().manual_seed(0)).to(values.device)
    inside = replace(
        scene.inside,
        values=values + 0.1 * values.std() * noise,
        norm_sq=scene.inside.norm_sq[:, index],
        total_norm_sq=scene.inside.total_norm_sq[index],
        loss=scene.inside.loss[index],
    )
    session = replace(scene.session, members=scene.session.members[index.numpy()], kept={})
    return replace(scene, session=session, inside=inside)


def _model_seconds(scene: Scene, game: GameSpec, records: int) -> float:
    """Of a game on the model, on tokens of no record: as many as it needs, if there will be so many."""
    play = on_model(game, scene.session.spec)
    if play is None:
        return 0.0
    layers, n, dim = scene.inside.values.shape
    n = max(n, min(records, _PER_COORDINATE * dim))
    values = torch.randn(layers, n, dim, generator=torch.Generator().manual_seed(0))
    # The records of the sample, several times over.
    session = replace(scene.session, members=np.resize(scene.session.members, n), kept={})
    inside = replace(scene.inside, values=values.to(scene.inside.values.device))
    some = replace(scene, session=session, inside=inside)
    return once(lambda: play(some, game))[1] * records / n


def once(work: Callable[[], T]) -> tuple[T, float]:
    """What a piece of work returns, and the seconds it took."""
    began = time.perf_counter()
    found = work()
    return found, time.perf_counter() - began


def _taken(view: View) -> int:
    """Records that one game takes."""
    return view.records * view.batches
