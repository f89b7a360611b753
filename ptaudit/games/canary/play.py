"""What do the records that were made to be found give away?"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ptaudit.canaries import Canaries, GradientSensitivity, Question, ask, make
from ptaudit.context.epoch_context import Line, Scene, clipped, joint_line
from ptaudit.context.layer_patterns import (
    shared,
)
from ptaudit.context.training_canaries import Planted, scores, spent
from ptaudit.games.canary import scores as canary
from ptaudit.games.identity import measure as identity
from ptaudit.spec.canaries import ATTACK, ONE_RUN, STEP_TESTS, About, CanarySpec, adversary
from ptaudit.spec.catalog import MODEL_VIEW
from ptaudit.spec.model import GameSpec
from ptaudit.stats.epsilon import Adjacency, Guesses, count_correct, one_run
from ptaudit.stats.estimate import Estimate, inconclusive
from ptaudit.stats.roc import auc_estimate
from ptaudit.tables.row import Row
from ptaudit.views import View
from ptaudit.views.joint import mixed
from ptaudit.views.knowledge import Asked, Knows

_CHANGES: dict[About, Adjacency] = {"attribute": "replace-one", "membership": "add/remove"}
_SHARE = 0.25
"""Of the canaries of a training, the share guessed to have one secret, and the share guessed to have the other."""

Metrics = Mapping[str, Estimate]


def play(scene: Scene, game: GameSpec, view: View) -> list[Row]:
    """Rows of all layers jointly, for every kind and secret."""
    spec = _spec(scene)
    rows: list[Row] = []
    line = joint_line(scene.inside.layers, scene.places(view))
    for about in spec.about:
        found = _made(scene, view, about)
        for kind in spec.kinds:
            made = found if isinstance(found, str) else found[1][kind]
            told: Mapping[str, Metrics]
            if isinstance(found, str) or isinstance(made, str):
                told = _lost(str(made))
            elif _others_are_known(view):
                told = canary.known_others(made.distance, view, spec.games, spec.delta, _CHANGES[about], scene.seed)
            else:
                told = _without_noise(scene, view, found[0], made, spec.games)
            rows += _rows(scene, view, game, line, kind, about, told)
    # In the order of the spec: kinds, then what they are about.
    order = {name: place for place, name in enumerate(spec.step_adversaries)}
    return sorted(rows, key=lambda row: order[row.adversary])


def play_planted(scene: Scene, game: GameSpec) -> list[Row]:
    """Rows of the canaries that were trained on: what the weights give away of them, in one run."""
    spec, session = _spec(scene), scene.session
    rows: list[Row] = []
    limits = spent(session.spec.train, len(session.split.members), scene.step, spec.delta)
    line = joint_line(scene.layers, range(len(scene.layers)))
    for kind in spec.kinds:
        for planted in session.planted:
            if planted.kind == kind:
                about = planted.question.about
                found = _one_run(scene, planted, limits[about], spec.delta)
                rows += _rows(scene, None, game, line, kind, about, {ONE_RUN: found})
    return rows


def _spec(scene: Scene) -> CanarySpec:
    spec = scene.session.spec.canaries
    assert spec is not None
    return spec


def _rows(
    scene: Scene, view: View | None, game: GameSpec, line: Line, kind: str, about: About, told: Mapping[str, Metrics]
) -> Iterator[Row]:
    """Rows of a kind; None is the view of the trained weights."""
    knows: Knows = "others" if view is not None and _others_are_known(view) else "none"
    name = MODEL_VIEW if view is None else view.name
    for test, metrics in told.items():
        found = {metric: [estimate] for metric, estimate in metrics.items()}
        yield from scene.rows(name, game, Asked(adversary(kind, test, about), knows=knows), [line], found)


def _others_are_known(view: View) -> bool:
    """Whether canaries are looked for by one who knows all other records of the batch: the worst case of noise."""
    return view.noise_std > 0.0 and view.linear


def _lost(why: str, canaries: int = 0) -> dict[str, Metrics]:
    unknown = replace(inconclusive(why), n=canaries)
    bounded = replace(unknown, ceiling=1.0)
    return {**{test: {"epsilon_lo": unknown} for test in STEP_TESTS}, ATTACK: {"auc": bounded, "bits": bounded}}


_Made = tuple[Question, dict[str, Canaries | str]]


def _made(scene: Scene, view: View, about: About) -> _Made | str:
    """The canaries for a view, made once for all views that clip and share alike; or why there are none."""
    key = ("canaries", about, view.clip, view.layers)
    if key not in scene.kept:
        scene.kept[key] = _make(scene, view, about)
    found: _Made | str = scene.kept[key]
    return found


def _make(scene: Scene, view: View, about: About) -> _Made | str:
    spec, session = _spec(scene), scene.session
    question = ask(about, session.records, spec.attribute, spec.values)
    source = question.fitting(session.records, _held_out(scene))[: spec.count]
    if len(source) < spec.count:
        with_value = " with one of both values" if about == "attribute" else ""
        return f"needs {spec.count} held-out records{with_value}, has {len(source)}"
    pull = GradientSensitivity(
        scene.model, session.loss, question, view.clip, lambda layer: shared(view, layer), session.device
    )
    made = make(spec.kinds, session.records, source, pull)
    for kind, canaries in made.items():
        if isinstance(canaries, Canaries) and not np.isfinite(canaries.distance).all():
            made[kind] = "gradients that are not finite"
    return question, made


def _held_out(scene: Scene) -> NDArray[np.int64]:
    """Held-out records in an order that is the same at every epoch."""
    return np.random.default_rng([scene.seed, 1]).permutation(scene.session.split.held_out)


def _without_noise(scene: Scene, view: View, question: Question, canaries: Canaries, games: int) -> dict[str, Metrics]:
    """Tokens of the canaries among those of the audited members, which the adversary does not know."""
    if not view.linear:
        return _lost("canaries are looked for in sums over records, which this view does not show", len(canaries))
    places = scene.places(view)
    others = mixed(clipped(view, scene.inside, places)) if places else torch.empty(0)
    if why := scene.why_not(view, places) or identity.why_not(others[None], view, 2):
        return _lost(why, len(canaries))

    def tokens(variant: int) -> Tensor:
        read = scene.reader.read(question.variants(canaries.inputs)[variant], canaries.targets)
        return mixed(clipped(view, read.of(scene.inside.layers), places))

    high = tokens(-1)
    low = torch.zeros_like(high) if question.about == "membership" else tokens(0)
    found = canary.unknown_others(canary.Tokens(low, high, others), view, games, scene.seed)
    return {**_lost(canary.NO_NOISE, len(canaries)), ATTACK: found}


def _one_run(scene: Scene, planted: Planted, limit: float, delta: float) -> Metrics:
    """Bound on epsilon from guesses about the canaries of one training; `limit` is the epsilon it is held against."""
    names, n = ("epsilon_lo", "auc"), len(planted.secret)
    if planted.why_not:
        return dict.fromkeys(names, inconclusive(planted.why_not))
    session, about = scene.session, planted.question.about
    pull = GradientSensitivity(scene.model, session.loss, planted.question, device=session.device)
    found = scores(planted, pull)
    if not np.isfinite(found).all():
        return dict.fromkeys(names, replace(inconclusive("losses that are not finite"), n=n))
    guesses = Guesses(math.floor(n * _SHARE), math.floor(n * _SHARE))
    right = count_correct(guesses, found, planted.secret, scene.seed)
    bound = one_run(guesses, right, n, delta=delta, adjacency=_CHANGES[about])
    status = "saturated" if bound.value >= bound.ceiling > 0.0 else "ok"
    ceiling = limit if math.isfinite(limit) else math.nan
    most = bound.ceiling if math.isnan(ceiling) else min(bound.ceiling, ceiling)
    return {
        "epsilon_lo": Estimate(bound.value, bound.value, max(bound.value, most), 0.0, ceiling, n, status),
        "auc": auc_estimate(found[planted.secret == 1], found[planted.secret == 0], seed=scene.seed),
    }
