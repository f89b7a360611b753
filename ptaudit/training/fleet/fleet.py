"""Trains the reference models that are not there yet, a few at once, and hands out what all of them say."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ptaudit.progress import Progress
from ptaudit.training.fleet.chunk import Chunk
from ptaudit.training.fleet.context import FleetContext
from ptaudit.training.fleet.engines import Engine, local
from ptaudit.training.fleet.plan import make_plan
from ptaudit.training.fleet.signals import ModelSignals
from ptaudit.training.fleet.store import FleetStore
from ptaudit.training.trainer import resident

if TYPE_CHECKING:
    from ptaudit.spec.fleet import FleetSpec


@dataclass(frozen=True)
class ReferenceSignals:
    """What N reference models say of the n records of a pool at E epochs, in Q queries, one query after the other.

    Attributes:
        epochs: the epochs; 0 is before training.
        outputs: `(N, E, Q n, ...)`, float32: class scores before softmax, or whatever else the model returns.
        losses: `(N, E, Q n)`, float32.
        included: `(N, n)`, which records a model was trained on.
        training: how the models were trained and why so, in words; of each `(N,)`.
    """

    epochs: tuple[int, ...]
    outputs: NDArray[np.float32]
    losses: NDArray[np.float32]
    included: NDArray[np.bool_]
    training: tuple[str, ...]


def train_fleet(
    context: FleetContext, fleet: FleetSpec, key: Mapping[str, str], progress: Progress, engine: Engine = local
) -> ReferenceSignals:
    """Train the models that the fleet's folder does not hold.

    Args:
        context: what they are trained on and with.
        fleet: how many, and where they are kept.
        key: what they depend on beside the context: model, code of model, loss and augmentation, versions.
        progress: where to report.
        engine: where they are trained.

    Raises:
        RunFolderError: the folder holds models of another training, or cannot be written.
        PtauditError: a training diverged or failed.
    """
    store = None if fleet.folder is None else FleetStore(Path(fleet.folder), {**key, **context.key})
    found = {} if store is None else store.kept(fleet.models)
    missing = [model for model in range(fleet.models) if model not in found]
    if store is not None and missing:
        store.try_to_write()
    context = replace(context, records=resident(context.records, context.device))
    with progress.task("reference models", total=len(missing)) as task:
        chunks, training = list[Chunk](), dict[int, str]()
        for models in _equally_large(context, missing):
            plan = make_plan(context, models, fleet.at_once)
            progress.log("; ".join(filter(None, [f"{len(models)} reference models {plan}", plan.measured])))
            chunks += plan.chunks(models)
            training |= dict.fromkeys(models, str(plan))
        with closing(engine(context, chunks, task)) as trained:
            for model, signals in trained:
                found[model] = replace(signals, training=training[model])
                if store is not None:
                    store.save(model, found[model])
    return _joined(context, [found[model] for model in range(fleet.models)])


def _equally_large(context: FleetContext, models: Sequence[int]) -> list[list[int]]:
    """The models in groups with as many members: of an odd number of records one half is larger."""
    groups = defaultdict(list)
    for model in models:
        groups[len(context.split(model).members)].append(model)
    return list(groups.values())


def _joined(context: FleetContext, models: Sequence[ModelSignals]) -> ReferenceSignals:
    outputs, losses, included = (
        np.stack([getattr(one, name) for one in models]) for name in ("outputs", "losses", "included")
    )
    return ReferenceSignals(context.epochs, outputs, losses, included, tuple(one.training for one in models))
