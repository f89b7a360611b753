"""Reference models beside the audited one: what all of them say of the audited records."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from ptaudit.attacks.membership.signals import Signals, from_errors, from_logits, from_losses
from ptaudit.data.records import Records
from ptaudit.training.fleet.fleet import ReferenceSignals

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
        pool: `(n,)` the records, as indices into all, ascending.
        seconds: spent on training those that were not there.
    """

    said: ReferenceSignals
    pool: NDArray[np.int64]
    seconds: float = 0.0

    def at(self, epoch: int, index: NDArray[np.int64], query: int = 0) -> tuple[Said, NDArray[np.bool_]]:
        """What all of them say of some records of the pool at an epoch, and which were trained on which, `(N, n)`.

        Args:
            epoch: at which they were looked at.
            index: records of the pool.
            query: in which of the queries; the first is the record as it is.
        """
        place, rows = self.said.epochs.index(epoch), np.searchsorted(self.pool, index)
        asked = query * len(self.pool) + rows
        said = Said(self.said.outputs[:, place, asked], self.said.losses[:, place, asked])
        return said, self.said.included[:, rows]
