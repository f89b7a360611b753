"""Location and spread of each record over the reference models of one side."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

_LEAST = 1e-12
"""Least variance: as a share of the pooled one, and squared where nothing varies at all."""


@dataclass(frozen=True)
class Moments:
    """Of n records over some models.

    Attributes:
        count: `(n,)` models.
        mean: `(n,)`.
        squares: `(n,)` sums of squared deviations from the mean.
    """

    count: Array
    mean: Array
    squares: Array

    @property
    def pooled(self) -> float:
        """Variance within records, one for all of them; above 0."""
        return float(self.squares.sum() / max((self.count - 1.0).sum(), 1.0)) + _LEAST**2

    @property
    def variance(self) -> Array:
        """Variance `(n,)` of each record, above 0."""
        return np.maximum(self.squares / np.maximum(self.count - 1.0, 1.0), _LEAST * self.pooled)


def moments(values: Array, mask: NDArray[np.bool_]) -> Moments:
    """Moments of `values` `(N, n)` over the models in `mask` `(N, n)`."""
    count = mask.sum(0).astype(np.float64)
    mean = np.where(mask, values, 0.0).sum(0) / np.maximum(count, 1.0)
    squares = np.where(mask, np.square(values - mean), 0.0).sum(0)
    return Moments(count, mean, squares)
