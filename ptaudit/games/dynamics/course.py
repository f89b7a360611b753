"""How a fleet's records move over the plane of false-positive and true-positive rates, and what foretells it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ptaudit.attacks.membership.fleet import fleet_scores
from ptaudit.attacks.membership.registry import ATTACKS
from ptaudit.attacks.membership.signals import Signals, references
from ptaudit.context.reference import signals_of
from ptaudit.context.session import Session
from ptaudit.games.dynamics.info import LEAST_TO_FORETELL
from ptaudit.stats.dynamics.apart import effect
from ptaudit.stats.dynamics.difficulty import difficulty, held_out_losses
from ptaudit.stats.dynamics.features import fleet_features
from ptaudit.stats.dynamics.forecast import EarlyWarning, early_warning, halves, most_vulnerable
from ptaudit.stats.dynamics.movement import Movement, movement
from ptaudit.stats.dynamics.plane import FleetTrajectory, points
from ptaudit.stats.dynamics.rank_correlation import rank_correlation
from ptaudit.stats.dynamics.resampled import Sampling
from ptaudit.stats.estimate import Estimate

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Warned:
    """What can be foretold of n records from half of the fleet, of who ends vulnerable in the other half.

    Attributes:
        early: forecasts of every epoch.
        vulnerable: `(n,)` labels.
        risk: `(n,)`, how far apart models with and without each record are in the end.
        difficulty: rank correlation of final risk with how hard records are to learn, by measure.
    """

    early: EarlyWarning
    vulnerable: Mask
    risk: Array
    difficulty: dict[str, Estimate]


@dataclass(frozen=True)
class FleetCourse:
    """A fleet at E audited epochs.

    Attributes:
        epochs: all of them.
        points: FPR and TPR of n records, `(E, n, 2)`.
        movement: what they show as a whole.
        warned: what can be foretold; None where models are too few.
        in_the_end: `risk` of each record, and the loss in models without it (`loss_without`), `(n,)`.
    """

    epochs: tuple[int, ...]
    points: Array
    movement: Movement
    warned: Warned | None
    in_the_end: dict[str, Array]


def course_of(session: Session, attack: str, index: NDArray[np.int64]) -> FleetCourse:
    """Follow some records through the fleet.

    Raises:
        ValueError: why they cannot be: too few models or epochs, scores that are not finite.
    """
    said, seed = _said(session, index), session.seed
    trajectory = _trajectory(said, attack, slice(None))
    moved = movement(trajectory, Sampling(seed))
    warned = _warned(said, attack, seed) if trajectory.models >= LEAST_TO_FORETELL else None
    return FleetCourse(said.epochs, points(trajectory), moved, warned, _in_the_end(said, trajectory))


@dataclass(frozen=True)
class _Said:
    """What N models say of n records at E epochs; `right` `(E, N, n)` where there are classes."""

    epochs: tuple[int, ...]
    signals: Sequence[Signals]
    included: Mask
    right: Mask | None


def _said(session: Session, index: NDArray[np.int64]) -> _Said:
    models, records = session.reference, session.records
    if models is None:
        raise ValueError("there are no reference models")
    epochs, loss = models.said.epochs, session.spec.train.loss
    told = [models.at(epoch, index) for epoch in epochs]
    targets = records.targets.cpu().numpy()[index]
    right = None
    if records.classes is not None and targets.ndim == 1 and told[0][0].outputs.ndim == 3:
        right = np.stack([said.outputs.argmax(-1) == targets for said, _ in told])
    return _Said(epochs, [signals_of(said, records, loss, index) for said, _ in told], told[0][1], right)


def _trajectory(said: _Said, attack: str, models: NDArray[np.int64] | slice) -> FleetTrajectory:
    """Scores of some models, by references among them alone."""
    included = said.included[models]
    fleets = [references(one.model(models), included) for one in said.signals]
    scores = np.stack([fleet_scores(ATTACKS[attack], fleet) for fleet in fleets])
    return FleetTrajectory(scores, included, ~included, np.asarray(said.epochs, dtype=np.float64))


def _in_the_end(said: _Said, trajectory: FleetTrajectory) -> dict[str, Array]:
    return {"risk": effect(trajectory)[-1], **_loss_without(said, slice(None))}


def _loss_without(said: _Said, models: NDArray[np.int64] | slice) -> dict[str, Array]:
    """Mean loss in the end of each record in those of some models that are without it; empty where losses are none."""
    losses = [one.losses[models] for one in said.signals if one.losses is not None]
    return {"loss_without": held_out_losses(np.stack(losses), ~said.included[models])[-1]} if losses else {}


def _warned(said: _Said, attack: str, seed: int) -> Warned:
    known, hidden = halves(len(said.included), seed=seed)
    mine, theirs = (_trajectory(said, attack, half) for half in (known, hidden))
    own_risk, risk = effect(mine)[-1], effect(theirs)[-1]
    vulnerable = most_vulnerable(risk)
    early = early_warning(fleet_features(mine), vulnerable, own_risk, seed=seed)
    outside = ~said.included[known]
    hard = {} if said.right is None else difficulty(said.right[:, known], outside, mine.epochs).by_name()
    hard |= _loss_without(said, known)
    return Warned(early, vulnerable, risk, {name: rank_correlation(x, risk, seed=seed) for name, x in hard.items()})
