"""How many threads compute: one in games, all in passes through a model.

Games are thousands of small factorizations and fits. Threads wait for each other in them: batches of small QR
decompositions take five times as long on two threads as on one, and where libraries bring thread pools of their own,
fifty times.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from threadpoolctl import threadpool_limits

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
