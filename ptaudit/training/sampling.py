"""Which records go into the steps of an epoch."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ptaudit.training.seeding import ORDER, derived_seed

if TYPE_CHECKING:
    from ptaudit.spec.model import TrainSpec


def epoch_batches(train: TrainSpec, members: NDArray[np.int64], seed: int, epoch: int) -> Iterator[NDArray[np.int64]]:
    """The records of every step; a function of seed and epoch alone.

    The members in a new order, in batches; under Poisson sampling as many steps, each of which every member joins by
    itself with the same probability, so that a step can have any number of records, none included.
    """
    generator = np.random.default_rng(derived_seed(seed, ORDER, epoch))
    if train.defense is not None and train.defense.draws_poisson:
        rate = sample_rate(train, len(members))
        for _ in range(steps_per_epoch(train, len(members))):
            yield members[generator.random(len(members)) < rate]
        return
    order = generator.permutation(members)
    for start in range(0, len(order), train.batch_size):
        yield order[start : start + train.batch_size]


def steps_per_epoch(train: TrainSpec, members: int) -> int:
    """How many steps an epoch has."""
    return math.ceil(members / train.batch_size)


def sample_rate(train: TrainSpec, members: int) -> float:
    """The probability with which a member is in a step."""
    return min(1.0, train.batch_size / members)
