"""Trains the reference models of a run, or takes those that are there."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from torch import nn

from ptaudit.auditing.recipe import SessionRecipe
from ptaudit.auditing.run_key import fleet_key
from ptaudit.context.reference import ReferenceModels
from ptaudit.context.session import Session
from ptaudit.progress import Progress
from ptaudit.spec.model import Spec
from ptaudit.training.fleet.context import FleetContext
from ptaudit.training.fleet.engines import Engine, local
from ptaudit.training.fleet.engines.ray import OverRay
from ptaudit.training.fleet.fleet import train_fleet
from ptaudit.training.fleet.plan import make_plan
from ptaudit.training.fleet.queries import Queries
from ptaudit.training.fleet.signals import observed_alone
from ptaudit.training.sampling import steps_per_epoch
from ptaudit.training.trainer import resident

FOLDER = "reference"

_LOOKED_AT = 3 * 8
"""Bytes for a number while attacks look at it: as float64, and what is made of it."""

_FOLLOWED = 6 * 8
"""Bytes for a record at an epoch that is followed: its signals, and scores by all models and by two halves of them."""


@dataclass(frozen=True)
class FleetRecipe:
    """What the reference models of a session are trained on and with, made on any machine.

    Attributes:
        session: makes the session.
    """

    session: SessionRecipe

    def __call__(self) -> tuple[FleetContext, Mapping[str, str]]:
        """The context, its records on the device if they fit, and what models depend on."""
        session = self.session.opened()
        context = context_of(session)
        key = {**fleet_key(session.spec), **context.key}
        return replace(context, records=resident(context.records, context.device)), key


def with_reference_models(
    session: Session,
    state: Path,
    progress: Progress,
    recipe: SessionRecipe | None = None,
    address: str | None = None,
) -> Session:
    """The session with its reference models, where the spec asks for them.

    Args:
        session: what is audited.
        state: where a run keeps what it goes on from: models are kept there, unless `fleet.folder` says where.
        progress: where to report.
        recipe: makes the session on other machines; default from its spec alone.
        address: of a Ray cluster that trains them; default a Ray of this machine, where the spec asks for Ray.

    Raises:
        RunFolderError: the folder holds models of another training.
        ClusterError: machines of the cluster failed.
        PtauditError: a training diverged or failed.
    """
    spec, recipe = session.spec, recipe or SessionRecipe.of(session)
    if spec.fleet is None:
        return session
    context, key = context_of(session), fleet_key(spec)
    engine: Engine = local
    if spec.fleet.engine == "ray":
        engine = OverRay(FleetRecipe(recipe), {**key, **context.key}, address, progress)
    folder = Path(spec.fleet.folder or state / FOLDER) / recipe.part
    fleet = spec.fleet.model_copy(update={"folder": str(folder)})
    began = time.perf_counter()
    said = train_fleet(context, fleet, key, progress, engine)
    return replace(session, reference=ReferenceModels(said, context.pool, time.perf_counter() - began))


def context_of(session: Session) -> FleetContext:
    """What the reference models of a session are trained on and with."""
    spec = session.spec
    what = (session.records, pool_of(session), spec.train, session.loss, session.model, spec.audited_epochs)
    queries = Queries.of(queries_of(spec), session.records)
    return FleetContext(*what, spec.train.all_seeds[0], session.device, session.augment, queries)


def queries_of(spec: Spec) -> int:
    """How many views of each record reference models are asked about: as many as the game that wants most."""
    return max((game.queries_each for game in spec.games), default=1)


def pool_of(session: Session) -> NDArray[np.int64]:
    """Records whose halves reference models are trained on: all members and as many held-out ones, those that are
    audited first, so that a model is trained on as many records as the audited one; fewer where there are not so many.
    """
    split = session.split
    rest = np.random.default_rng(session.spec.audit.seed).permutation(np.setdiff1d(split.held_out, session.others))
    outside = np.concatenate([session.others, rest])[: len(split.members)]
    return np.sort(np.concatenate([split.members, outside]))


def reference_seconds(session: Session, steps: int, each: float) -> float:
    """Of training the reference models as a run would, and of asking them about the pool at every audited epoch.

    Args:
        session: with a fleet in its spec.
        steps: that are timed, of models to throw away.
        each: seconds of the loss of one record in one model.
    """
    fleet, context, train = session.spec.fleet, context_of(session), session.spec.train
    assert fleet is not None
    members = len(context.split(0).members)
    models = [model for model in range(fleet.models) if len(context.split(model).members) == members]
    first = make_plan(context, models, fleet.at_once).chunks(models)[0]
    step = first.begun(context).time_steps(steps) / len(first.models)
    taken = train.epochs * steps_per_epoch(train, members) * step
    asked = len(session.spec.audited_epochs) * queries_of(session.spec) * len(context.pool) * each
    return fleet.models * (taken + asked)


def reference_bytes(session: Session, model: nn.Module) -> int:
    """Memory for what reference models say: of all epochs as it is kept, with each defense that is held beside the
    training as it is; of the one that is looked at as float64, and of all where a game follows them."""
    spec, fleet = session.spec, session.spec.fleet
    if fleet is None:
        return 0
    outputs, _ = observed_alone(model, session.loss, session.batch, session.members[:2])
    numbers, audited = 1 + outputs[0].size, len(session.members) + len(session.others)
    epochs, defenses = len(spec.audited_epochs), len(spec.defenses)
    held = 1 + (defenses if fleet.engine == "ray" else min(1, defenses))
    kept = held * epochs * len(pool_of(session)) * numbers * outputs.itemsize
    looked_at = audited * numbers * _LOOKED_AT
    if any(game.follows_fleet for game in spec.audit.games):
        looked_at += epochs * audited * (numbers * outputs.itemsize + _FOLLOWED)
    return int(fleet.models * queries_of(spec) * (kept + looked_at))
