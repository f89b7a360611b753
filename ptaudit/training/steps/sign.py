"""Signed gradients (Bernstein et al. 2018): the optimizer gets -1, 0 or 1 for every number of the gradient."""

from __future__ import annotations

from torch import Tensor

from ptaudit.training.steps.base import Batch


class Sign:
    """Keeps the sign alone; a gradient of 0 stays 0."""

    def begin(self, epoch: int) -> None:
        """Nothing depends on the epoch."""

    def __call__(self, gradient: Tensor, batch: Batch) -> Tensor:
        """The sign of every number, (d,)."""
        return gradient.sign()
