"""A reference model that is trained by itself."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ptaudit.errors import TrainingDivergedError
from ptaudit.training.fleet.context import FleetContext
from ptaudit.training.fleet.signals import Batch, observed_alone
from ptaudit.training.seeding import PROBE, derived_seed, seeded
from ptaudit.training.trainer import Replay


class Alone:
    """One reference model, trained as the audited one is.

    Args:
        context: what it is trained on and with.
        model: which one.
    """

    def __init__(self, context: FleetContext, model: int) -> None:
        self.models = (model,)
        self._context, self._seed = context, context.training_seed(model)
        what = (context.build(self._seed), context.records, context.split(model), context.train, context.loss)
        self.replay = Replay(*what, self._seed, context.device, context.augment)

    def train_epoch(self, epoch: int) -> None:
        """Train an epoch, 1 the first.

        Raises:
            PtauditError: training diverged or failed.
        """
        try:
            self.replay.train_epoch(epoch)
        except TrainingDivergedError as error:
            what = f"reference model {self.models[0]}: {error.what}"
            raise TrainingDivergedError(what, where=error.where, remedy=error.remedy) from error

    def signals(self, epoch: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Outputs `(1, Q n, ...)` and losses `(1, Q n)` on the pool in Q queries."""
        context = self._context
        with seeded(derived_seed(self._seed, PROBE, epoch), context.device):
            return context.looked_at(self._observe)

    def _observe(self, batch: Batch, index: NDArray[np.int64]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        outputs, losses = observed_alone(self.replay.model, self._context.loss, batch, index)
        return outputs[None], losses[None]

    def time_steps(self, steps: int) -> float:
        """Median seconds of a step. Changes the weights: for a model to throw away."""
        return self.replay.time_steps(steps)
