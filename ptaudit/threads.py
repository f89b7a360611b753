"""How many threads compute: one in games, all in passes through a model; and halves of a game side by side.

Games are thousands of small factorizations and fits. Threads wait for each other in them: batches of small QR
decompositions take five times as long on two threads as on one, and where libraries bring thread pools of their own,
fifty times.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, TypeVar

import torch
from threadpoolctl import threadpool_limits

T = TypeVar("T")

_before: list[int] = []
"""Threads of torch outside of every `one_thread` that is running."""


@contextmanager
def one_thread() -> Iterator[None]:
    """One thread for torch, BLAS and OpenMP."""
    before = torch.get_num_threads()
    _before.append(before)
    torch.set_num_threads(1)
    try:
        with threadpool_limits(1):
            yield
    finally:
        torch.set_num_threads(before)
        _before.pop()


@contextmanager
def every_thread() -> Iterator[None]:
    """As many threads for torch as there were before the first `one_thread` that is running."""
    now = torch.get_num_threads()
    torch.set_num_threads(_before[0] if _before else now)
    try:
        yield
    finally:
        torch.set_num_threads(now)


def side_by_side(function: Callable[..., T], *arguments: Iterable[Any]) -> list[T]:
    """What `map` gives, with as many calls at a time as there were threads before the first `one_thread`.

    Calls must share nothing that changes: no generator, no model. Outside of `one_thread` they come one by one.
    """
    if not _before or _before[0] == 1:
        return list(map(function, *arguments))
    with ThreadPoolExecutor(_before[0], initializer=_alone) as pool:
        return list(pool.map(function, *arguments))


def _alone() -> None:
    """One thread for what is computed from here: a new thread has OpenMP's limits anew, of every copy of it."""
    torch.set_num_threads(1)
    threadpool_limits(1)
