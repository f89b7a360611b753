"""Where reference models are trained: in this process, or over a Ray cluster."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence

from ptaudit.progress import Task
from ptaudit.training.fleet.chunk import train_chunk
from ptaudit.training.fleet.context import FleetContext
from ptaudit.training.fleet.signals import ModelSignals

Trained = Generator[tuple[int, ModelSignals], None, None]
"""Models and what they say, of every chunk in turn."""

Engine = Callable[[FleetContext, Sequence[Sequence[int]], Task], Trained]
"""(context, chunks of models, task) -> what each model says; a chunk decides its numbers, whoever trains it."""


def local(context: FleetContext, chunks: Sequence[Sequence[int]], task: Task) -> Trained:
    """One chunk after the other, in this process; see `train_chunk`."""
    for models in chunks:
        yield from train_chunk(context, models, task)
