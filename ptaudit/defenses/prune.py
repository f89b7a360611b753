"""Gradient pruning: the smallest numbers are not sent."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np

from ptaudit.spec.defenses import DefenseSpec, OneShare, Share

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from ptaudit.spec.train import TrainSpec


class PruneDefense(DefenseSpec):
    """`prune`: the smallest numbers of the gradient are set to 0."""

    name: Literal["prune"]
    """Which defense."""
    ratio: Share
    """Share of the numbers that are set to 0."""

    parameter: ClassVar[str] = "ratio"
    unused: ClassVar[tuple[str, ...]] = ("sam",)

    def gradient(self, gradients: Tensor, generator: torch.Generator) -> Tensor:
        """The whole gradient without its smallest magnitudes (Zhu et al., arXiv 1906.08935, section 5).

        Their count is rounded and exact: of equal magnitudes at the border the first ones go. Zeros of parameters that
        a batch does not use count among the smallest.
        """
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

    def notes(self, train: TrainSpec, members: int, before: str) -> Iterator[str]:
        """What was set to 0."""
        share = f"{100 * self.ratio:g} %"
        yield f"Training set the smallest {share} of the numbers of each step's gradient to 0{before}"


class PruneTraining(PruneDefense):
    """`prune`: the smallest numbers of each step's gradient are set to 0. One ratio: a training has one defense."""

    ratio: OneShare
    """Share of the numbers that are set to 0."""


def _smallest(size: Tensor, count: int) -> Tensor:
    """The `count`-th smallest number of every row, `(G, 1)`; NumPy's is four times as fast as PyTorch's on a CPU."""
    if size.is_cuda:
        return size.kthvalue(count, dim=1, keepdim=True).values
    border: Tensor = size.new_tensor(np.partition(size.numpy(), count - 1, axis=1)[:, count - 1 : count])
    return border
