"""What reference models say of records: outputs and losses, in eval mode."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ptaudit.gradients.record_losses import PerRecordLoss, per_record
from ptaudit.model_input import Inputs
from ptaudit.training.fleet.context import FleetContext
from ptaudit.training.loss import scores_in

Observe = Callable[[Inputs, Tensor], tuple[Tensor, Tensor]]
"""(inputs, targets) of b records -> outputs `(S, b, ...)` and losses `(S, b)` of S models."""


@dataclass(frozen=True)
class ModelSignals:
    """What one model says of the n records of the pool at E epochs.

    Attributes:
        outputs: `(E, n, ...)`, float32: class scores before softmax, or whatever else the model returns.
        losses: `(E, n)`, float32.
        included: `(n,)`, whether the model was trained on the record.
        training: how it was trained and why so, in words.
    """

    outputs: NDArray[np.float32]
    losses: NDArray[np.float32]
    included: NDArray[np.bool_]
    training: str = ""


def observed(context: FleetContext, observe: Observe, at_once: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Outputs `(S, n, ...)` and losses `(S, n)` of S models on the pool.

    Args:
        context: the records.
        observe: the models.
        at_once: records in a pass.
    """
    parts = []
    with torch.no_grad():
        for start in range(0, len(context.pool), at_once):
            found = observe(*context.batch(context.pool[start : start + at_once]))
            parts.append([part.to("cpu", torch.float32) for part in found])
    outputs, losses = (torch.cat(of_one, dim=1).numpy() for of_one in zip(*parts))
    return outputs, losses


def said(loss: PerRecordLoss, output: object, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Output and losses of records.

    Raises:
        ModelError: the model returns something else than a tensor, or the loss reduces the losses.
    """
    return scores_in(output, "a fleet of reference models"), per_record(loss, output, targets)  # type: ignore[arg-type]
