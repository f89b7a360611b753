"""Ordinary steps along a gradient that a defense has changed: what the optimizer follows is what would be shown."""

from __future__ import annotations

from typing import Protocol

from torch import Tensor

from ptaudit.training.epoch_snapshot import StepWatch
from ptaudit.training.steps.base import Batch
from ptaudit.training.steps.passes import Passes
from ptaudit.training.steps.plain import Plain


class Change(Protocol):
    """What a defense does to the gradient of a step."""

    def begin(self, epoch: int) -> None:
        """Called before the first step of an epoch, with the model in training mode."""

    def __call__(self, gradient: Tensor, batch: Batch) -> Tensor:
        """The gradient of the batch's mean loss over all trainable parameters, (d,), as the optimizer gets it."""


class Defended(Plain):
    """Steps along a changed gradient: of all micro-batches together, clipped before, without the scale of the loss.

    Args:
        passes: how gradients come about.
        change: what is done to them.
    """

    def __init__(self, passes: Passes, change: Change) -> None:
        super().__init__(passes)
        self._change = change

    def begin(self, epoch: int) -> None:
        """Prepare the change."""
        self._change.begin(epoch)

    def __call__(self, batch: Batch, number: int, watch: StepWatch | None = None) -> list[Tensor]:
        """Follow the changed gradient of the batch."""
        losses = self._passes.backward(batch, number, watch)
        self._passes.update(lambda gradient: self._change(gradient, batch))
        return losses
