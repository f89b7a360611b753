"""Mean loss and accuracy over the records of many batches."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor


class RunningMetrics:
    """Running mean of loss and accuracy.

    Args:
        classes: number of classes of the targets; None if they are no classes, and there is no accuracy.
    """

    def __init__(self, classes: int | None) -> None:
        self._counts_hits = classes is not None
        self._sum, self._hits, self.n = 0.0, 0, 0

    def add(self, losses: Tensor, output: Any, targets: Tensor) -> None:
        """Count a batch in: losses (n,), the model's output, targets (n, ...)."""
        self._sum += float(losses.sum(dtype=torch.float64))
        self.n += len(losses)
        if self._counts_hits:
            hits = _hits(output, targets)
            self._counts_hits = hits is not None
            self._hits += hits or 0

    @property
    def loss(self) -> float:
        """Mean loss of the `n` records so far; NaN of none."""
        return self._sum / self.n if self.n else math.nan

    @property
    def accuracy(self) -> float:
        """Share of right classes; NaN where there are none."""
        return self._hits / self.n if self._counts_hits and self.n else math.nan


def _hits(output: Any, targets: Tensor) -> int | None:
    """How many classes are right; None when the output is neither class scores (n, C) nor one logit a record."""
    if not isinstance(output, Tensor):
        return None
    if output.dim() == 2 and output.shape[1] > 1:
        guess = output.argmax(1)
    elif output.numel() == len(targets):
        guess = (output.reshape(len(targets)) > 0).to(targets.dtype)
    else:
        return None
    return int((guess == targets).sum())
