"""Where reference models are trained: in this process, or over a Ray cluster."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence

from ptaudit.progress import Task
from ptaudit.training.fleet.chunk import Chunk, train_chunk
from ptaudit.training.fleet.context import FleetContext
from ptaudit.training.fleet.signals import ModelSignals

Trained = Generator[tuple[int, ModelSignals], None, None]
"""Models and what they say, of every chunk in turn."""

Engine = Callable[[FleetContext, Sequence[Chunk], Task], Trained]
"""(context, chunks of models, task) -> what each model says; a chunk decides its numbers, whoever trains it."""


def local(context: FleetContext, chunks: Sequence[Chunk], task: Task) -> Trained:
    """One chunk after the other, in this process; see `train_chunk`."""
    for chunk in chunks:
        yield from train_chunk(context, chunk, task)
