"""Randomness of the replay: every stream has its own seed, and the caller's global generators stay as they were."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch

WEIGHTS, ORDER, NOISE, AUGMENT, PRIVACY, INSERTED, LABELS, PROBE, DEFENDED, REFERENCE, HALVES = range(11)
"""The streams of one training seed: initial weights, order of the records, dropout, augmentation, noise of DP-SGD;
weights of inserted layers, randomised labels, what a defender prepares on, what is random in its change; the seeds of
reference models, the halves of the pool that they are trained on."""


def derived_seed(seed: int, stream: int, epoch: int = 0) -> int:
    """A seed for one stream of one epoch; distinct streams and epochs are independent of each other."""
    return int(np.random.SeedSequence([seed, stream, epoch]).generate_state(1, np.uint64)[0] >> np.uint64(1))


@contextmanager
def seeded(seed: int, device: torch.device | None = None) -> Iterator[None]:
    """Seed the global generators of the CPU and of `device` inside the block, and restore them afterwards.

    `torch.manual_seed` would touch every CUDA device, also those that are not restored.
    """
    cuda = [device] if device is not None and device.type == "cuda" else []
    with torch.random.fork_rng(devices=cuda):
        torch.default_generator.manual_seed(seed)
        for gpu in cuda:
            with torch.cuda.device(gpu):
                torch.cuda.manual_seed(seed)
        yield
