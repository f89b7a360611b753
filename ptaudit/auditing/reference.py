"""Trains the reference models of a run, or takes those that are there."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ptaudit.auditing.run_key import fleet_key
from ptaudit.context.reference import ReferenceModels
from ptaudit.context.session import Session
from ptaudit.progress import Progress
from ptaudit.training.fleet.context import FleetContext
from ptaudit.training.fleet.fleet import train_fleet

FOLDER = "reference"


def with_reference_models(session: Session, state: Path, progress: Progress, part: str = "") -> Session:
    """The session with its reference models, where the spec asks for them.

    Args:
        session: what is audited.
        state: where a run keeps what it goes on from: models are kept there, unless `fleet.folder` says where.
        progress: where to report.
        part: of several trainings, the folder of one among the models.

    Raises:
        RunFolderError: the folder holds models of another training.
        PtauditError: a training diverged or failed.
    """
    spec = session.spec
    if spec.fleet is None:
        return session
    pool, seed = pool_of(session), spec.train.all_seeds[0]
    what = (session.records, pool, spec.train, session.loss, session.model, spec.audited_epochs, seed)
    context = FleetContext(*what, session.device, session.augment)
    folder = Path(spec.fleet.folder or state / FOLDER) / part
    fleet = spec.fleet.model_copy(update={"folder": str(folder)})
    began = time.perf_counter()
    said = train_fleet(context, fleet, fleet_key(spec), progress)
    return replace(session, reference=ReferenceModels(said, pool, time.perf_counter() - began))


def pool_of(session: Session) -> NDArray[np.int64]:
    """Records whose halves reference models are trained on: all members and as many held-out ones, those that are
    audited first, so that a model is trained on as many records as the audited one; fewer where there are not so many.
    """
    split = session.split
    rest = np.random.default_rng(session.spec.audit.seed).permutation(np.setdiff1d(split.held_out, session.others))
    outside = np.concatenate([session.others, rest])[: len(split.members)]
    return np.sort(np.concatenate([split.members, outside]))
