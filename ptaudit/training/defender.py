"""What a defender finds out from, before the first batch that it defends."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from ptaudit.data.records import Records
from ptaudit.data.split import Split


@dataclass(frozen=True)
class Defender:
    """Records of its own, and the gradients of batches of them.

    Attributes:
        records: all records.
        split: members and held-out records.
        own: which of them it learns from.
        batch_size: records in a batch.
        most_batches: how many batches it may look at.
        parameters: numbers in a gradient (d).
        seed: of what it draws.
        gradients: mean gradients `(G, d)` of batches `(G, m)`, which are places in a list of records.
    """

    records: Records
    split: Split
    own: NDArray[np.int64]
    batch_size: int
    most_batches: int
    parameters: int
    seed: int
    gradients: Callable[[NDArray[np.int64], Tensor], Tensor]
