"""What models say of records: outputs and losses, in eval mode."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ptaudit.gradients.frozen_state import frozen_state
from ptaudit.gradients.record_losses import PerRecordLoss, per_record
from ptaudit.model_input import Inputs, call, to_device
from ptaudit.training.fleet.queries import Queries
from ptaudit.training.loss import scores_in

_BATCH = 512

Batch = Callable[[NDArray[np.int64]], tuple[Inputs, Tensor]]
"""Inputs and targets of some records."""

Observe = Callable[[Inputs, Tensor], tuple[Tensor, Tensor]]
"""(inputs, targets) of b records -> outputs `(S, b, ...)` and losses `(S, b)` of S models."""


@dataclass(frozen=True)
class ModelSignals:
    """What one model says of the n records of the pool at E epochs, in Q queries, one query after the other.

    Attributes:
        outputs: `(E, Q n, ...)`, float32: class scores before softmax, or whatever else the model returns.
        losses: `(E, Q n)`, float32.
        included: `(n,)`, whether the model was trained on the record.
        training: how it was trained and why so, in words.
    """

    outputs: NDArray[np.float32]
    losses: NDArray[np.float32]
    included: NDArray[np.bool_]
    training: str = ""


def observed(
    batch: Batch, index: NDArray[np.int64], observe: Observe, at_once: int
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Outputs `(S, n, ...)` and losses `(S, n)` of S models on some records.

    Args:
        batch: reads records.
        index: which ones, `(n,)`.
        observe: the models.
        at_once: records in a pass.
    """
    parts = []
    with torch.no_grad():
        for start in range(0, len(index), at_once):
            found = observe(*batch(index[start : start + at_once]))
            parts.append([part.to("cpu", torch.float32) for part in found])
    outputs, losses = (torch.cat(of_one, dim=1).numpy() for of_one in zip(*parts))
    return outputs, losses


def in_all_queries(
    batch: Batch, queries: Queries, observe: Callable[[Batch], tuple[NDArray[np.float32], NDArray[np.float32]]]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Outputs `(S, Q n, ...)` and losses `(S, Q n)` of S models on n records in Q queries, query by query.

    Args:
        batch: reads records as they are.
        queries: what they are changed to.
        observe: reads records -> outputs `(S, n, ...)` and losses `(S, n)`.
    """

    def asked(query: int, index: NDArray[np.int64]) -> tuple[Inputs, Tensor]:
        inputs, targets = batch(index)
        return queries.ask(inputs, query), targets

    found = [observe(partial(asked, query)) for query in range(queries.count)]
    outputs, losses = (np.concatenate(of_one, axis=1) for of_one in zip(*found))
    return outputs, losses


def observed_alone(
    model: nn.Module, loss: PerRecordLoss, batch: Batch, index: NDArray[np.int64]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Outputs `(n, ...)` and losses `(n,)` of one model on some records; the model is left as it was."""
    device = next(model.parameters()).device

    def observe(inputs: Inputs, targets: Tensor) -> tuple[Tensor, Tensor]:
        output, losses = said(loss, call(model, to_device(inputs, device)), targets.to(device))
        return output[None], losses[None]

    with frozen_state(model, device):
        outputs, losses = observed(batch, index, observe, _BATCH)
    return outputs[0], losses[0]


def said(loss: PerRecordLoss, output: object, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Output and losses of records.

    Raises:
        ModelError: the model returns something else than a tensor, or the loss reduces the losses.
    """
    return scores_in(output, "a fleet of reference models"), per_record(loss, output, targets)  # type: ignore[arg-type]
