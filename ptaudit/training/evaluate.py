"""Loss and accuracy over records."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ptaudit.data.records import Records
from ptaudit.gradients.record_losses import PerRecordLoss
from ptaudit.model_input import call, to_device

_BATCH = 512

MOST_MEMBERS = 10_000
"""Members that loss and accuracy of training are found on: all, or as many at random. The error of an accuracy is then
at most 0.5 %, and a pass over them costs little beside an epoch."""


def members_evaluated(members: NDArray[np.int64]) -> NDArray[np.int64]:
    """The members that stand for all of them, the same at every epoch."""
    if len(members) <= MOST_MEMBERS:
        return members
    return np.random.default_rng(0).choice(members, MOST_MEMBERS, replace=False)


def evaluate(model: nn.Module, records: Records, loss: PerRecordLoss, index: NDArray[np.int64]) -> tuple[float, float]:
    """Mean loss and accuracy over some records, in eval mode; the accuracy is NaN unless targets are classes.

    Args:
        model: on any device; left in eval mode.
        records: all records.
        loss: per-record loss.
        index: which records.
    """
    device = next(model.parameters()).device
    metrics = RunningMetrics(records.classes)
    model.eval()
    with torch.no_grad():
        for start in range(0, len(index), _BATCH):
            inputs, targets = records.batch(torch.from_numpy(index[start : start + _BATCH]))
            targets = targets.to(device)
            output = call(model, to_device(inputs, device))
            metrics.add(loss(output, targets), output, targets)
    return metrics.loss, metrics.accuracy


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
