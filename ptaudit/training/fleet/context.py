"""What reference models are trained on and with."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ptaudit.data.records import Records
from ptaudit.data.split import Split
from ptaudit.errors import DataError
from ptaudit.gradients.record_losses import PerRecordLoss
from ptaudit.model_input import Inputs, to_device
from ptaudit.training.augment import Augment
from ptaudit.training.fleet.assignment import members
from ptaudit.training.fleet.queries import ONE, Queries
from ptaudit.training.fleet.signals import Batch, in_all_queries
from ptaudit.training.seeding import REFERENCE, derived_seed

if TYPE_CHECKING:
    from ptaudit.spec.train import TrainSpec


@dataclass(frozen=True)
class FleetContext:
    """What all reference models share.

    Attributes:
        records: all records.
        pool: (n,) which of them reference models are trained on, or not: no record twice. A model is trained on half.
        train: the training of the spec; its own seeds are not used.
        loss: per-record loss.
        build: from a seed to a model with initial weights, as the audited one is built.
        epochs: at which epochs records are looked at, ascending; 0 is before training.
        seed: of halves, weights and orders.
        device: where to train.
        augment: what changes the inputs of a training batch.
        queries: how records are looked at.

    Raises:
        DataError: the pool cannot be halved.
        ValueError: epochs that the training does not have, or a record twice in the pool.
    """

    records: Records
    pool: NDArray[np.int64]
    train: TrainSpec
    loss: PerRecordLoss
    build: Callable[[int], nn.Module]
    epochs: tuple[int, ...]
    seed: int
    device: torch.device
    augment: Augment | None = None
    queries: Queries = ONE

    def __post_init__(self) -> None:
        if len(self.pool) < 2:
            raise DataError(
                f"{len(self.pool)} records cannot be halved between reference models",
                where="data",
                remedy="use more records, or fewer for other ends",
            )
        if len(np.unique(self.pool)) < len(self.pool):
            raise ValueError("a record is in the pool twice: half of the models could not be without it")
        asked = set(self.epochs)
        if not asked or list(self.epochs) != sorted(asked) or not asked <= set(range(self.train.epochs + 1)):
            raise ValueError(f"epochs {self.epochs}: one at least, ascending, from 0 to {self.train.epochs}")

    def included(self, model: int) -> NDArray[np.bool_]:
        """Which records of the pool a model is trained on, `(n,)`."""
        return members(model, len(self.pool), self.seed)

    def split(self, model: int) -> Split:
        """What a model is trained on, and the rest of the pool."""
        inside = self.included(model)
        return Split(self.pool[inside], self.pool[~inside])

    def training_seed(self, model: int) -> int:
        """Seed of weights, order and noise of a model."""
        return derived_seed(self.seed, REFERENCE, model)

    def batch(self, index: NDArray[np.int64]) -> tuple[Inputs, Tensor]:
        """Inputs and targets of some records on the device, in the shape of `index` and what a record has."""
        inputs, targets = self.records.batch(torch.from_numpy(index))
        return to_device(inputs, self.device), targets.to(self.device)

    def looked_at(
        self, observe: Callable[[Batch, NDArray[np.int64]], tuple[NDArray[np.float32], NDArray[np.float32]]]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """What models say of the pool in each query: outputs `(S, Q n, ...)` and losses `(S, Q n)`, query by query.

        Args:
            observe: (reads records, which ones) -> outputs `(S, n, ...)` and losses `(S, n)`.
        """
        return in_all_queries(self.batch, self.queries, lambda batch: observe(batch, self.pool))

    @cached_property
    def key(self) -> dict[str, str]:
        """What the signals of a model depend on, but for the code of model, loss and augmentation, and for versions."""
        train = {name: value for name, value in self.train.plain().items() if name not in ("seed", "seeds")}
        return {
            **{f"train.{name}": json.dumps(value, sort_keys=True) for name, value in train.items()},
            "data": self.records.digest(),
            "pool": hashlib.sha256(self.pool.astype("<i8").tobytes()).hexdigest(),
            "epochs": ", ".join(map(str, self.epochs)),
            "seed of the fleet": str(self.seed),
            "device": self.device.type,
            **self.queries.key,
        }
