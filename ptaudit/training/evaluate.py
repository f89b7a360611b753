"""Loss and accuracy over records."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from ptaudit.data.records import Records
from ptaudit.gradients.record_losses import PerRecordLoss
from ptaudit.model_input import call, to_device
from ptaudit.training.running_metrics import RunningMetrics

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
