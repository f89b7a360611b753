"""Which reference model is trained on which records of the pool."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ptaudit.training.seeding import HALVES, derived_seed


def members(model: int, records: int, seed: int) -> NDArray[np.bool_]:
    """Which of the records a model is trained on, `(records,)`: a random half.

    Models 0 and 1, 2 and 3, ... are pairs: the second is trained on what the first is not, one record more where their
    number is odd. The halves of different pairs are independent.

    Args:
        model: which one, from 0.
        records: how many there are in the pool.
        seed: of the fleet.
    """
    order = np.random.default_rng(derived_seed(seed, HALVES, model // 2)).permutation(records)
    first = np.zeros(records, dtype=bool)
    first[order[: records // 2]] = True
    return ~first if model % 2 else first


def assignment(models: int, records: int, seed: int) -> NDArray[np.bool_]:
    """Who is in, `(models, records)`: each model has half of the records, each record half of the models.

    The first models are the same however many follow.

    Args:
        models: how many, an even number.
        records: how many there are in the pool.
        seed: of the fleet.

    Raises:
        ValueError: an odd number of models.
    """
    if models % 2:
        raise ValueError(f"{models} models: they come in pairs")
    return np.stack([members(model, records, seed) for model in range(models)])
