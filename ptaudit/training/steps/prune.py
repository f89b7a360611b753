"""Gradient pruning: the smallest numbers of the whole gradient become 0."""

from __future__ import annotations

from torch import Tensor

from ptaudit.training.steps.base import Batch


class Prune:
    """Keeps the largest magnitudes.

    Args:
        ratio: share of all numbers of the gradient that are set to 0; zeros of unused parameters count.
    """

    def __init__(self, ratio: float) -> None:
        self._ratio = ratio

    def begin(self, epoch: int) -> None:
        """Nothing depends on the epoch."""

    def __call__(self, gradient: Tensor, batch: Batch) -> Tensor:
        """See `prune`."""
        return prune(gradient, self._ratio)


def prune(gradient: Tensor, ratio: float) -> Tensor:
    """(d,) with the round(ratio d) smallest magnitudes set to 0, and whatever ties with the largest of them."""
    k = round(ratio * len(gradient))
    if k == 0:
        return gradient
    sizes = gradient.abs()
    return gradient * (sizes > sizes.kthvalue(k).values)
