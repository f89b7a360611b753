"""Nulls: the same game with the secret shuffled, no record keeping its own secret."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray


def derangement(n: int, generator: np.random.Generator) -> NDArray[np.int64]:
    """A permutation of 0..n-1 without fixed points, uniform over all of them.

    By rejection of uniform permutations (e = 2.7 tries on average), because Sattolo's algorithm reaches only the
    cyclic ones.

    Raises:
        ValueError: if n < 2, for which there is none.
    """
    if n < 2:
        raise ValueError(f"no derangement of {n} items")
    own = np.arange(n)
    while True:
        order = generator.permutation(n)
        if not np.any(order == own):
            return order.astype(np.int64)


def permutation_null(
    statistic: Callable[[NDArray[np.int64]], float], n: int, *, draws: int, generator: np.random.Generator
) -> NDArray[np.float64]:
    """The statistic with the secrets deranged; its mean is the `null` that is reported.

    Args:
        statistic: takes an index (n,) of which record's secret each record is given.
        n: number of records.
        draws: number of derangements.
        generator: source of randomness.

    Returns:
        Values of the statistic, shape (draws,).
    """
    return np.array([statistic(derangement(n, generator)) for _ in range(draws)], dtype=np.float64)
