"""Trains the reference models of a run, or takes those that are there."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from ptaudit.auditing.opening import open_session
from ptaudit.auditing.run_key import fleet_key
from ptaudit.context.reference import ReferenceModels
from ptaudit.context.session import Session
from ptaudit.errors import SpecError
from ptaudit.progress import Progress
from ptaudit.spec.load import dump, restore
from ptaudit.spec.model import Spec
from ptaudit.training.fleet.context import FleetContext
from ptaudit.training.fleet.engines import Engine, local
from ptaudit.training.fleet.engines.ray import OverRay, check_cluster, need_ray
from ptaudit.training.fleet.fleet import train_fleet
from ptaudit.training.fleet.queries import Queries
from ptaudit.training.fleet.signals import observed_alone

FOLDER = "reference"

_LOOKED_AT = 3 * 8
"""Bytes for a number while attacks look at it: as float64, and what is made of it."""


@dataclass(frozen=True)
class SpecRecipe:
    """What the reference models of a spec are trained on and with, made from the spec and the files that it names.

    Attributes:
        spec_text: the resolved spec.
        device: where to train: `cpu` or `cuda`.
    """

    spec_text: str
    device: str

    def __call__(self) -> tuple[FleetContext, Mapping[str, str]]:
        """The context, and what models depend on beside it."""
        session = open_session(restore(self.spec_text), torch.device(self.device))
        return context_of(session), fleet_key(session.spec)


def check_engine(spec: Spec, address: str | None = None) -> None:
    """Find what the spec's reference models are trained on, before anything else is done.

    Raises:
        PtauditError: Ray is not installed, or no cluster answers at the address.
        SpecError: an address, and nothing that is done there.
    """
    on_ray = spec.fleet is not None and spec.fleet.engine == "ray"
    if on_ray:
        need_ray()
    if address is not None and not on_ray:
        raise SpecError(
            "nothing in this spec is done on a Ray cluster",
            where="--address",
            remedy="add `fleet: {engine: ray}` for reference models, or leave it out",
        )
    if address is not None:
        check_cluster(address)


def with_reference_models(
    session: Session, state: Path, progress: Progress, part: str = "", address: str | None = None
) -> Session:
    """The session with its reference models, where the spec asks for them.

    Args:
        session: what is audited.
        state: where a run keeps what it goes on from: models are kept there, unless `fleet.folder` says where.
        progress: where to report.
        part: of several trainings, the folder of one among the models.
        address: of a Ray cluster that trains them; default a Ray of this machine, where the spec asks for Ray.

    Raises:
        RunFolderError: the folder holds models of another training.
        ClusterError: machines of the cluster failed.
        PtauditError: a training diverged or failed.
    """
    spec = session.spec
    if spec.fleet is None:
        return session
    context, key = context_of(session), fleet_key(spec)
    engine: Engine = local
    if spec.fleet.engine == "ray":
        engine = OverRay(SpecRecipe(dump(spec), session.device.type), key, address, progress)
    folder = Path(spec.fleet.folder or state / FOLDER) / part
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


def reference_bytes(session: Session, model: nn.Module) -> int:
    """Memory for what reference models say: of all epochs as it is kept, of the one that is looked at as float64."""
    fleet = session.spec.fleet
    if fleet is None:
        return 0
    outputs, _ = observed_alone(model, session.loss, session.batch, session.members[:2])
    numbers, audited = 1 + outputs[0].size, len(session.members) + len(session.others)
    queries, kept = queries_of(session.spec), len(session.spec.audited_epochs) * len(pool_of(session)) * numbers
    return int(fleet.models * queries * (kept * outputs.itemsize + audited * numbers * _LOOKED_AT))
