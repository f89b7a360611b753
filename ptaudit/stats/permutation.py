"""Nulls: the same game with the secret shuffled, no record keeping its own secret."""

from __future__ import annotations

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
