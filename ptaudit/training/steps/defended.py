"""Ordinary steps along a gradient that a defense has changed: what the optimizer follows is what would be shown."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ptaudit.training.defender import Defender
from ptaudit.training.epoch_snapshot import StepWatch
from ptaudit.training.seeding import DEFENDED, PROBE, derived_seed, seeded
from ptaudit.training.steps.base import Batch, StepContext
from ptaudit.training.steps.passes import Passes, PlainStep, micro_batch
from ptaudit.training.steps.sam import frozen_statistics

if TYPE_CHECKING:
    from ptaudit.spec.model import TrainSpec

_BATCHES = 64
"""Batches of members that a defender may look at before each epoch."""


class Defended(PlainStep):
    """Steps along a changed gradient: of all micro-batches together, clipped before, without the scale of the loss.

    Before every epoch the defender prepares at the weights of that moment, on the members. What it draws, the dropout
    of these passes, and what is random in its change, come from (seed, epoch).

    Args:
        passes: how gradients come about.
        context: what is trained, on what.
        train: the spec, with a defense.

    Raises:
        DataError: the records do not fit the defense.
    """

    def __init__(self, passes: Passes, context: StepContext, train: TrainSpec) -> None:
        super().__init__(passes)
        assert train.defense is not None
        train.defense.check_records(context.records, context.split, {"members": context.members})
        self._ground, self._defense = context, train.defense
        self._batch_size = min(micro_batch(train), max(2, len(context.members) // _BATCHES))
        self._generator = torch.Generator()

    def begin(self, epoch: int) -> None:
        """Prepare the defense."""
        context, seed = self._ground, derived_seed(self._ground.seed, PROBE, epoch)
        self._generator.manual_seed(derived_seed(context.seed, DEFENDED, epoch))
        width = sum(p.numel() for p in self._passes.parameters)
        with seeded(seed, context.device), frozen_statistics(context.model):
            self._defense = self._defense.prepared(
                Defender(
                    context.records, context.split, context.members, self._batch_size, _BATCHES, width, seed, self._read
                )
            )

    def __call__(self, batch: Batch, number: int, watch: StepWatch | None = None) -> list[Tensor]:
        """Follow the changed gradient of the batch."""
        losses = self._passes.backward(batch, number, watch)
        self._passes.update(lambda gradient: self._defense.gradient(gradient[None], self._generator)[0])
        return losses

    def _read(self, own: NDArray[np.int64], batches: Tensor) -> Tensor:
        """Mean gradients of batches, `(G, d)`."""
        return torch.stack([self._passes.gradient(self._ground.batch(own[index])) for index in batches.numpy()])
