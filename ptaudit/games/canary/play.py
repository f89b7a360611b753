"""What do the records that were made to be found give away?"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ptaudit.canaries import Canaries, GradientSensitivity, HypothesisPair, ask, make
from ptaudit.context.epoch_context import EpochContext, clipped, joint_scope
from ptaudit.context.layer_patterns import shared
from ptaudit.context.memo import Key
from ptaudit.context.scores import Scores, ScoreSheet
from ptaudit.context.session import Session
from ptaudit.context.training_canaries import TrainingCanaries, scores, spent
from ptaudit.games.canary.info import CanaryGame
from ptaudit.games.canary.one_run import of_training
from ptaudit.games.canary.scores import NO_NOISE, CanaryTokens, Metrics, known_others, most_shown, unknown_others
from ptaudit.games.game_play import GamePlay
from ptaudit.spec.canaries import ATTACK, STEP_TESTS, About, CanarySpec, adversary
from ptaudit.stats.epsilon import Adjacency
from ptaudit.stats.estimate import Estimate, inconclusive
from ptaudit.stats.foretold import Foretold, auc, never
from ptaudit.stats.roc import auc_estimate
from ptaudit.views import View
from ptaudit.views.joint import mixed
from ptaudit.views.knowledge import Asked, Knows
from ptaudit.views.records_needed import too_few, why_too_few

NO_SUM = "canaries are looked for in sums over records, which this view does not show"

_CHANGES: dict[About, Adjacency] = {"attribute": "replace-one", "membership": "add/remove"}


class CanaryPlay(GamePlay[CanaryGame]):
    """All layers jointly, for every kind of canaries and what they are about."""

    def on_view(self, context: EpochContext, game: CanaryGame, view: View) -> list[Scores]:
        """Scores of the canaries of one step."""
        spec, found = game.canaries, list[Scores]()
        sheet = ScoreSheet.of(context, game, view)
        for about in spec.about:
            there = _made(context, spec, view, about)
            for kind in spec.kinds:
                made = there if isinstance(there, str) else there[1][kind]
                told: Mapping[str, Metrics]
                if isinstance(there, str) or isinstance(made, str):
                    told = _lost(str(made))
                elif _others_are_known(view):
                    change = _CHANGES[about]
                    told = known_others(made.distance, view, spec, change, context.seed)
                else:
                    told = _without_noise(context, view, there[0], made, spec.games)
                found += _scores(sheet, kind, about, told)
        # In the order of the spec: kinds, then what they are about.
        order = {name: place for place, name in enumerate(spec.step_adversaries)}
        return sorted(found, key=lambda one: order[one.adversary.adversary])

    def on_model(self, context: EpochContext, game: CanaryGame) -> list[Scores]:
        """Scores of the canaries that were trained on: what the weights give away of them, in one run."""
        spec, session, found = game.canaries, context.session, list[Scores]()
        limits = spent(session.spec.train, len(session.split.members), context.step, spec.delta)
        sheet = ScoreSheet(context, game, None, list(range(len(context.layers))))
        for kind in spec.kinds:
            for planted in session.training_canaries:
                if planted.kind == kind:
                    about = planted.question.about
                    one = _one_run(context, planted, limits[about], spec)
                    found += _scores(sheet, kind, about, {spec.run_test: one})
        return found

    def foretell(self, session: Session, game: CanaryGame, view: View | None) -> Iterator[Foretold]:
        """The largest epsilon that so many games, or canaries, can show, all of them won."""
        spec = game.canaries
        if view is None:
            for planted in session.training_canaries:
                yield from _of_planted(planted, spec)
            return
        for about in spec.about:
            there = len(ask(about, session.records, spec.attribute, spec.values).fitting(
                session.records, session.split.held_out
            ))  # fmt: skip
            if why := _too_few(there, spec, about) or _too_few_others(len(session.members), view):
                yield never(why)
            elif view.noise_std > 0.0:
                yield from _of_noise(most_shown(view, spec, _CHANGES[about]), spec, about)
            else:
                yield from (never(NO_NOISE, spec.count, "epsilon_lo"), Foretold("auc", spec.count))


def _too_few_others(n: int, view: View) -> str:
    """Why canaries cannot be looked for on a view, among so many records; empty if they can."""
    if not view.linear:
        return NO_SUM
    return "" if _others_are_known(view) else too_few(n, view)


def _of_noise(most: Mapping[str, float], spec: CanarySpec, about: About) -> Iterator[Foretold]:
    for test, ceiling in most.items():
        names = tuple(adversary(kind, test, about) for kind in spec.kinds)
        yield Foretold("epsilon_lo", spec.games, 0.0, ceiling=ceiling, adversaries=names)


def _of_planted(planted: TrainingCanaries, spec: CanarySpec) -> Iterator[Foretold]:
    """Of the canaries of one kind: the bound, had every guess been right, and the area."""
    about, secret = planted.question.about, planted.secret
    names = (adversary(planted.kind, spec.run_test, about),)
    if planted.why_not:
        yield replace(never(planted.why_not), adversaries=names)
        return
    bound = of_training(spec, secret.astype(np.float64), secret, _CHANGES[about], 0)
    yield Foretold("epsilon_lo", len(secret), 0.0, ceiling=bound.ceiling, adversaries=names)
    ones = int(secret.sum())
    yield replace(auc(ones, len(secret) - ones), adversaries=names)


def _scores(sheet: ScoreSheet, kind: str, about: About, told: Mapping[str, Metrics]) -> Iterator[Scores]:
    """Scores of a kind, all layers jointly."""
    view = sheet.view
    knows: Knows = "others" if view is not None and _others_are_known(view) else "none"
    layers = sheet.context.layers if view is None else sheet.context.inside.layers
    for test, metrics in told.items():
        found = {metric: [estimate] for metric, estimate in metrics.items()}
        who = Asked(adversary(kind, test, about), knows=knows)
        yield sheet.scores(who, found, [joint_scope(layers, sheet.places)])


def _others_are_known(view: View) -> bool:
    """Whether canaries are looked for by one who knows all other records of the batch: the worst case of noise."""
    return view.noise_std > 0.0 and view.linear


def _lost(why: str, canaries: int = 0) -> dict[str, Metrics]:
    unknown = replace(inconclusive(why), n=canaries)
    bounded = replace(unknown, ceiling=1.0)
    return {**{test: {"epsilon_lo": unknown} for test in STEP_TESTS}, ATTACK: {"auc": bounded, "bits": bounded}}


_Made = tuple[HypothesisPair, dict[str, Canaries | str]]
MADE: Key[_Made | str] = Key("canaries of a view")


def _made(context: EpochContext, spec: CanarySpec, view: View, about: About) -> _Made | str:
    """The canaries for a view, made once for all views that clip and share alike; or why there are none."""
    key = (about, view.clip, view.layers)
    return context.memo.once(MADE, key, lambda: _make(context, spec, view, about))


def _make(context: EpochContext, spec: CanarySpec, view: View, about: About) -> _Made | str:
    session = context.session
    question = ask(about, session.records, spec.attribute, spec.values)
    source = question.fitting(session.records, _held_out(context))[: spec.count]
    if why := _too_few(len(source), spec, about):
        return why
    moved = GradientSensitivity(context.model, session.loss, question, view.clip, lambda layer: shared(view, layer))
    made = make(spec.kinds, session.records, source, moved)
    for kind, canaries in made.items():
        if isinstance(canaries, Canaries) and not np.isfinite(canaries.distance).all():
            made[kind] = "gradients that are not finite"
    return question, made


def _too_few(there: int, spec: CanarySpec, about: About) -> str:
    """Why so many held-out records are no source of canaries; empty if they are."""
    with_value = " with one of both values" if about == "attribute" else ""
    return f"needs {spec.count} held-out records{with_value}, has {there}" if there < spec.count else ""


def _held_out(context: EpochContext) -> NDArray[np.int64]:
    """Held-out records in an order that is the same at every epoch."""
    return np.random.default_rng([context.seed, 1]).permutation(context.session.split.held_out)


def _without_noise(
    context: EpochContext, view: View, question: HypothesisPair, canaries: Canaries, games: int
) -> dict[str, Metrics]:
    """Tokens of the canaries among those of the audited members, which the adversary does not know."""
    if not view.linear:
        return _lost(NO_SUM, len(canaries))
    places = context.places(view)
    others = mixed(clipped(view, context.inside, places)) if places else torch.empty(0)
    if why := context.why_not(view, places) or why_too_few(others[None], view):
        return _lost(why, len(canaries))

    def tokens(variant: int) -> Tensor:
        read = context.reader.read(question.variants(canaries.inputs)[variant], canaries.targets)
        return mixed(clipped(view, read.of(context.inside.layers), places))

    high = tokens(-1)
    low = torch.zeros_like(high) if question.about == "membership" else tokens(0)
    found = unknown_others(CanaryTokens(low, high, others), view, games, context.seed)
    return {**_lost(NO_NOISE, len(canaries)), ATTACK: found}


def _one_run(context: EpochContext, planted: TrainingCanaries, limit: float, spec: CanarySpec) -> Metrics:
    """Bound on epsilon from guesses about the canaries of one training; `limit` is the epsilon it is held against."""
    names, n = ("epsilon_lo", "auc"), len(planted.secret)
    if planted.why_not:
        return dict.fromkeys(names, inconclusive(planted.why_not))
    session, about = context.session, planted.question.about
    moved = GradientSensitivity(context.model, session.loss, planted.question)
    found = scores(planted, moved)
    if not np.isfinite(found).all():
        return dict.fromkeys(names, replace(inconclusive("losses that are not finite"), n=n))
    bound = of_training(spec, found, planted.secret, _CHANGES[about], context.seed)
    status = "saturated" if bound.value >= bound.ceiling > 0.0 else "ok"
    ceiling = limit if math.isfinite(limit) else math.nan
    most = bound.ceiling if math.isnan(ceiling) else min(bound.ceiling, ceiling)
    return {
        "epsilon_lo": Estimate(bound.value, bound.value, max(bound.value, most), 0.0, ceiling, n, status),
        "auc": auc_estimate(found[planted.secret == 1], found[planted.secret == 0], seed=context.seed),
    }


PLAY = CanaryPlay()
