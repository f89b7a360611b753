"""The estimators as functions of arrays: what the audit plays, on anybody's tokens."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from ptaudit.games import identity
from ptaudit.stats.estimate import Estimate
from ptaudit.views.view import View

__all__ = ["Estimate", "identity_bits"]


def identity_bits(
    tokens: ArrayLike | Tensor,
    batch_size: int = 32,
    noise: float = 0.0,
    candidates: int = 256,
    seed: int = 0,
    rounds: int = 1,
) -> Estimate:
    """Bits that the sum of a batch of tokens gives away about which of K candidates was in it.

    A lower bound on the mutual information, by a calibrated likelihood ratio (see `ptaudit.games.identity`). With fewer
    than 20 records for each record of a batch the result is inconclusive; 32 are advised.

    Args:
        tokens: one row a record, shape `(N, k)`.
        batch_size: records in a batch (m), the target included.
        noise: standard deviation per coordinate of Gaussian noise on the sum of the batch.
        candidates: most candidates; K = min(candidates, N/4), and log2 K is the ceiling.
        seed: seed of the split, the draws and the resamples.
        rounds: independent batches that hold the same target.

    Returns:
        Value, 95 % interval, null and ceiling in bits; `n` is the number of distinct targets.

    Raises:
        ValueError: for tokens that are not a matrix, or sizes and noise out of range.
    """
    given = tokens.detach() if isinstance(tokens, Tensor) else torch.as_tensor(np.asarray(tokens, dtype=np.float64))
    matrix = given.to(torch.float64)
    if matrix.dim() != 2 or matrix.shape[1] == 0:
        raise ValueError(f"tokens must have shape (records, coordinates), not {tuple(matrix.shape)}")
    if batch_size < 1 or rounds < 1 or candidates < 2 or not noise >= 0.0:
        raise ValueError("batch_size and rounds must be at least 1, candidates at least 2, noise at least 0")
    view = View("tokens", batch_size, rounds, noise_std=noise)
    return identity.measure(matrix[None], view, [[0]], [None], candidates, seed)[1]["bits"][0]
