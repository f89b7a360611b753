"""Chunks of reference models over a Ray cluster."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass

import torch

from ptaudit.progress import Progress, Silent, Task
from ptaudit.training.cluster import Cluster, Job, Recipe, made_alike
from ptaudit.training.fleet.chunk import Chunk, train_chunk
from ptaudit.training.fleet.context import FleetContext
from ptaudit.training.fleet.engines import Trained
from ptaudit.training.fleet.signals import ModelSignals

_REMEDY = "`fleet.at_once: 1` takes least memory"


@dataclass(frozen=True)
class OverRay:
    """The engine.

    Attributes:
        recipe: makes the context that the engine is called with.
        key: what models depend on: a worker that finds anything else trains nothing.
        address: of the cluster, see `check_cluster`; None for a Ray of this machine, for as long as it takes.
        progress: where to say that a worker is gone.
    """

    recipe: Recipe[FleetContext]
    key: Mapping[str, str]
    address: str | None
    progress: Progress

    def __call__(self, context: FleetContext, chunks: Sequence[Chunk], task: Task) -> Trained:
        """Train chunks side by side, as many as the cluster has room for; they come as they finish.

        Raises:
            ClusterError: the workers of a chunk died time and again, or one has other code, data or versions.
            PtauditError: a training diverged or failed.
        """
        if not chunks:
            return
        what = self.recipe, self.key, torch.get_num_threads()
        jobs = [Job(f"reference {chunk.name}", (*what, chunk)) for chunk in chunks]
        cluster = Cluster(self.address, context.device, self.progress, _REMEDY)
        task.advance(0, f"in {len(chunks)} parts")
        with closing(cluster.done(_train, jobs)) as trained:
            for done, (_, found) in enumerate(trained, start=1):
                for model, signals in found:
                    task.advance(1, f"{len(chunks) - done} of {len(chunks)} parts to come")
                    yield model, signals


def _train(
    recipe: Recipe[FleetContext], key: Mapping[str, str], threads: int, chunk: Chunk
) -> list[tuple[int, ModelSignals]]:
    """What a worker does: trains a chunk; the models and what they say."""
    return list(train_chunk(made_alike(recipe, key, threads), chunk, Silent().task("")))
