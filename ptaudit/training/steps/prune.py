"""Gradient pruning: the smallest numbers of the whole gradient become 0."""

from __future__ import annotations

from torch import Tensor

from ptaudit import defenses
from ptaudit.training.steps.base import Batch


class Prune:
    """Keeps the largest magnitudes.

    Args:
        ratio: share of all numbers of the gradient that are set to 0; zeros of unused parameters count.
    """

    def __init__(self, ratio: float) -> None:
        self._pruned = defenses.Prune(ratio)

    def begin(self, epoch: int) -> None:
        """Nothing depends on the epoch."""

    def __call__(self, gradient: Tensor, batch: Batch) -> Tensor:
        """As a view shows it: `round(ratio d)` numbers become 0, of equal ones the first."""
        return self._pruned(gradient[None])[0]
