"""Gradient pruning: the smallest numbers are not sent."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ptaudit.defenses.base import Defense


@dataclass(frozen=True)
class Prune(Defense):
    """The smallest magnitudes of the whole gradient are set to 0 (Zhu et al., arXiv 1906.08935, section 5).

    Attributes:
        ratio: share of the numbers set to 0, between 0 and 1; the count is rounded. Of equal magnitudes at the border
            the first ones go, so that the count is exact.
    """

    ratio: float

    def __post_init__(self) -> None:
        if not 0.0 <= self.ratio <= 1.0:
            raise ValueError(f"a share is between 0 and 1, not {self.ratio}")

    def __call__(self, gradients: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """See `Defense.__call__`."""
        count = round(self.ratio * gradients.shape[1])
        if count == 0:
            return gradients
        size = gradients.abs()
        border = _smallest(size, count)
        pruned, tied = size < border, size == border
        room = count - pruned.sum(1, keepdim=True)
        if bool(((tied.sum(1, keepdim=True) > room) & (border > 0)).any()):  # it does not matter which zeros go
            tied &= tied.cumsum(1) <= room
        return gradients.masked_fill(pruned | tied, 0.0)


def _smallest(size: Tensor, count: int) -> Tensor:
    """The `count`-th smallest number of every row, `(G, 1)`; NumPy's is four times as fast as PyTorch's on a CPU."""
    if size.is_cuda:
        return size.kthvalue(count, dim=1, keepdim=True).values
    return torch.from_numpy(np.partition(size.numpy(), count - 1, axis=1)[:, count - 1 : count])
