"""Reference models beside the audited one: what all of them say of the audited records."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from ptaudit.attacks.membership.signals import Signals, from_errors, from_logits, from_losses
from ptaudit.data.records import Records
from ptaudit.gradients.record_losses import PerRecordLoss
from ptaudit.model_input import call, to_device
from ptaudit.training.fleet.fleet import ReferenceSignals
from ptaudit.training.fleet.signals import said

_BATCH = 512
_LIKELIHOODS = ("cross_entropy", "bce")
"""Losses that are negative log-likelihoods."""


@dataclass(frozen=True)
class Said:
    """Outputs and losses of one model, or of N, on n records.

    Attributes:
        outputs: `(..., n, ...)` float32.
        losses: `(..., n)` float32.
    """

    outputs: NDArray[np.float32]
    losses: NDArray[np.float32]


def said_by(model: nn.Module, records: Records, loss: PerRecordLoss, index: NDArray[np.int64]) -> Said:
    """What a model says of some records, in eval mode; it is left in the mode that it was in."""
    outputs, losses, training = [], [], model.training
    device = next(model.parameters()).device
    model.eval()
    with torch.no_grad():
        for start in range(0, len(index), _BATCH):
            inputs, targets = records.batch(torch.from_numpy(index[start : start + _BATCH]))
            found = said(loss, call(model, to_device(inputs, device)), targets.to(device))
            outputs.append(found[0].float().cpu().numpy())
            losses.append(found[1].float().cpu().numpy())
    model.train(training)
    return Said(np.concatenate(outputs), np.concatenate(losses))


def signals_of(said: Said, records: Records, loss: str, index: NDArray[np.int64]) -> Signals:
    """What attacks look at: of classifiers the class scores, else losses that are likelihoods, else errors.

    Args:
        said: by one model, or by N, of the records `index`.
        records: all records.
        loss: its name in the spec.
        index: `(n,)`.
    """
    targets = records.targets[torch.from_numpy(index)].cpu().numpy()
    scored = said.outputs.ndim == said.losses.ndim + 1 and said.outputs.shape[-1] > 1
    if records.classes is not None and scored and targets.ndim == 1:
        return from_logits(said.outputs, targets)
    if loss in _LIKELIHOODS:
        return from_losses(said.losses)
    return from_errors(said.losses, float(max(said.losses.mean(), np.finfo(np.float64).tiny)))


@dataclass(frozen=True)
class ReferenceModels:
    """N reference models of a run.

    Attributes:
        said: of the records of the pool.
        pool: `(n,)` the records, as indices into all.
        seconds: spent on training those that were not there.
    """

    said: ReferenceSignals
    pool: NDArray[np.int64]
    seconds: float = 0.0

    def at(self, epoch: int, index: NDArray[np.int64]) -> tuple[Said, NDArray[np.bool_]]:
        """What all of them say of some records of the pool at an epoch, and which were trained on which, `(N, n)`."""
        place, order = self.said.epochs.index(epoch), np.argsort(self.pool)
        rows = order[np.searchsorted(self.pool, index, sorter=order)]
        said = Said(self.said.outputs[:, place, rows], self.said.losses[:, place, rows])
        return said, self.said.included[:, rows]
