"""The step of ordinary training: the gradient of the mean loss, then the optimizer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from ptaudit.training.epoch_snapshot import StepWatch
from ptaudit.training.steps.base import Batch
from ptaudit.training.steps.passes import Passes


class PlainStep:
    """Ordinary steps."""

    def __init__(self, passes: Passes) -> None:
        self._passes = passes

    def begin(self, epoch: int) -> None:
        """Nothing depends on the epoch."""

    def __call__(self, batch: Batch, number: int, watch: StepWatch | None = None) -> list[Tensor]:
        """Follow the gradient of the batch."""
        losses = self._passes.backward(batch, number, watch)
        self._passes.update()
        return losses

    def epsilon(self, steps: int) -> float | None:
        """None: no privacy is promised."""
        return None

    def state(self) -> dict[str, Any]:
        """The scale of the loss."""
        return self._passes.state()

    def load(self, state: Mapping[str, Any]) -> None:
        """Go on with a scale of the loss."""
        self._passes.load(state)
