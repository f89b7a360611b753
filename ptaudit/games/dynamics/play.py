"""When, during training, does which record become exposed, and can it be foretold?"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from ptaudit.context.epoch_context import EpochContext, joint_scope
from ptaudit.context.memo import Key
from ptaudit.context.scores import Found, Scores, ScoreSheet
from ptaudit.context.session import Session
from ptaudit.estimators.uniqueness import leverage
from ptaudit.games.dynamics.course import FleetCourse, Warned, course_of
from ptaudit.games.dynamics.depth import depth_and_risk
from ptaudit.games.dynamics.info import (
    DEPTH,
    FORECAST,
    LEAST_TO_FORETELL,
    DynamicsGame,
    Source,
    who,
)
from ptaudit.games.game_play import GamePlay
from ptaudit.spec.catalog import JOINT, TRANSITIONS
from ptaudit.stats.dynamics.features import Features, run_features
from ptaudit.stats.dynamics.forecast import Forecast, forecast
from ptaudit.stats.dynamics.movement import Movement
from ptaudit.stats.estimate import Estimate, inconclusive
from ptaudit.stats.foretold import Foretold, never
from ptaudit.views import View
from ptaudit.views.joint import mixed


@dataclass(frozen=True)
class _Lost:
    """Why nothing is known of the fleet."""

    why: str


Told = tuple[str, Found]
"""Who tells it, and what."""

_COURSE: Key[FleetCourse | _Lost] = Key("dynamics")


class DynamicsPlay(GamePlay[DynamicsGame]):
    """Of the whole fleet, once; told epoch by epoch."""

    def on_model(self, context: EpochContext, game: DynamicsGame) -> list[Scores]:
        """What is known by this epoch, of all layers jointly."""
        sheet, session = ScoreSheet.of(context, game), context.session
        scope = [joint_scope(context.inside.layers, sheet.places)]
        course = session.memo.once(_COURSE, (game.title, game.attack), lambda: _course(session, game.attack))
        if isinstance(course, _Lost):
            return [sheet.scores(game.attack, {game.metrics[0]: [inconclusive(course.why)]}, scope)]
        if context.epoch not in course.epochs:
            return []
        place, last = course.epochs.index(context.epoch), len(course.epochs) - 1
        told: list[Told] = [(game.attack, _moved(course.movement, place))]
        if course.warned is not None:
            told += _foretold(context, course.warned, place)
            told += [*_in_the_end(course.warned), *_decided(context, course.warned)] if place == last else []
        _keep(context, game, course, place)
        return [sheet.scores(name, found, scope) for name, found in told]

    def foretell(self, session: Session, game: DynamicsGame, view: View | None) -> Iterator[Foretold]:
        """Whether models are enough for a forecast."""
        models = 0 if session.spec.fleet is None else session.spec.fleet.models
        yield Foretold(game.metrics[0])
        if models < LEAST_TO_FORETELL:
            why = f"needs {LEAST_TO_FORETELL} reference models, there are {models}"
            yield never(why, metric="forecast_auc")


def _course(session: Session, attack: str) -> FleetCourse | _Lost:
    try:
        return course_of(session, attack, _audited(session))
    except ValueError as error:
        return _Lost(str(error))


def _audited(session: Session) -> NDArray[np.int64]:
    return np.concatenate([session.members, session.others])


def _moved(movement: Movement, place: int) -> dict[str, list[Estimate]]:
    """What the plane shows at an epoch, and of the step to it."""
    found = {
        "exposed": movement.exposed.estimates[place],
        "entropy": movement.entropy.estimates[place],
        "already_exposed": movement.already_exposed[place],
    }
    if place:
        found |= {
            "displacement": movement.displacement.estimates[place - 1],
            "encoding_speed": movement.speed.estimates[place - 1],
            **_transitions(movement, place - 1),
        }
    if place == len(movement.epochs) - 1:
        found |= {
            "entropy_change": movement.entropy_change.estimates[0],
            "peak_transition": movement.transitions.peak,
        }
    return {metric: [estimate] for metric, estimate in found.items()}


def _transitions(movement: Movement, step: int) -> dict[str, Estimate]:
    found = movement.transitions
    parts = [getattr(found, name)[step].ravel().tolist() for name in ("shares", "lo", "hi", "null")]
    n = movement.exposed.estimates[0].n
    rows = zip(TRANSITIONS, *parts, strict=True)
    return {name: Estimate(value, lo, hi, null, 1.0, n) for name, value, lo, hi, null in rows}


def _foretold(context: EpochContext, warned: Warned, place: int) -> Iterator[Told]:
    """Forecasts from half of the fleet and from the audited run alone, of who ends vulnerable in the other half."""
    yield from _of_forecast("fleet", warned.early.forecasts[place])
    known = _known_of_run(context)
    if known is None:
        yield who("run", FORECAST), {"forecast_auc": [inconclusive("losses that are not finite")]}
        return
    members = len(context.session.members)
    yield from _of_forecast("run", forecast(known, warned.vulnerable[:members], seed=context.seed))


def _known_of_run(context: EpochContext) -> Features | None:
    """What the audited run alone tells of its members by now, as far as it is numbers; None where losses are none."""
    n = len(context.session.members)
    losses, norms = (
        np.stack([getattr(one, name)[:n] for one in context.course]) for name in ("losses", "gradient_norms")
    )
    unique = leverage(mixed(context.inside.values.double())[None])[0].cpu().numpy()
    if not np.isfinite(losses).all():
        return None
    told = [some if np.isfinite(some).all() else None for some in (norms, unique)]
    *_, known = run_features(np.arange(len(losses), dtype=np.float64), losses, *told).values()
    return known


def _in_the_end(warned: Warned) -> Iterator[Told]:
    """What forecasts are held against, since when one is good enough, and whether hard records are at risk."""
    early = warned.early
    yield "agreement", {"forecast_auc": [early.agreement_auc], "forecast_precision": [early.agreement_precision]}
    yield "attainable", {"forecast_auc": [early.attainable_auc]}
    yield who("fleet", FORECAST), {"forecast_from": [_since(early.first_of_attainable, early.agreement_auc.n)]}
    for name, estimate in warned.difficulty.items():
        yield name.replace("_", "-"), {"rank_correlation": [estimate]}


def _decided(context: EpochContext, warned: Warned) -> Iterator[Told]:
    """Whether held-out records that the audited model decides late are at risk in models that are trained on them."""
    risk = warned.risk[len(context.session.members) :]
    if (found := depth_and_risk(context, risk)) is not None:
        yield DEPTH.replace("_", "-"), {"rank_correlation": [found]}


def _of_forecast(source: Source, found: Forecast) -> Iterator[Told]:
    together = {"forecast_auc": found.auc, "forecast_precision": found.precision, "forecast_gain": found.gain}
    yield who(source, FORECAST), {metric: [estimate] for metric, estimate in together.items()}
    for name, estimate in found.single_auc.items():
        yield who(source, name), {"forecast_auc": [estimate], "forecast_precision": [found.single_precision[name]]}


def _since(epoch: float | None, n: int) -> Estimate:
    if epoch is None:
        return inconclusive("no forecast is as good as 90 % of what is attainable, for certain", n=n)
    return Estimate(epoch, epoch, epoch, float("nan"), float("nan"), n)


def _keep(context: EpochContext, game: DynamicsGame, course: FleetCourse, place: int) -> None:
    """Where each audited member is on the plane, and whether it has been exposed for certain, where that is kept."""
    if context.samples is None:
        return
    n, exposure = len(context.session.members), course.movement.exposure
    since = (exposure.place >= 0) & (exposure.place <= place)
    told = {"fpr": course.points[place, :, 0], "tpr": course.points[place, :, 1], "exposed": since}
    if place == len(course.epochs) - 1:
        told |= course.in_the_end
    for name, values in told.items():
        context.samples.add(context.epoch, JOINT, game.title, name, torch.from_numpy(np.asarray(values[:n], float)))


PLAY = DynamicsPlay()
