"""Evidence from densities in the full space of a gradient: what is left without a candidate, against what batches do.

The rest of a batch is taken to be Gaussian with the mean and scatter of the attacker's own records' gradients; beyond
their span the scatter is the same in all directions. Only inner products of gradients are needed.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from redteam_world import Array
from torch import Tensor

SPREADS = (0.3, 3.0, 30.0)
"""Scatter beyond the span of the attacker's records, in units of what other records of hers have there."""


@dataclass(frozen=True)
class Density:
    """Scatter of the gradients of own records.

    Attributes:
        mean: of the gradients, `(d,)`.
        own: the records less the mean, `(n, d)`.
        turn: from inner products with `own` to unit coordinates, `(n, k)`.
        variance: along these, `(k,)`.
        rest: variance in each direction beyond.
    """

    mean: Tensor
    own: Tensor
    turn: Array
    variance: Array
    rest: float

    def evidence(self, batches: Tensor, candidates: Tensor, others: int, noise: float) -> Array:
        """Squared distances of what is left, `(G, K, len(SPREADS))`, as log of how far each is from the nearest.

        Args:
            batches: gradients of batches, `(G, d)`.
            candidates: gradients of the candidates, `(K, d)`.
            others: number of other records, m - 1.
            noise: standard deviation of the noise on every number.
        """
        x, c = batches - others * self.mean, candidates
        square = ((x**2).sum(1)[:, None] - 2.0 * x @ c.T + (c**2).sum(1)).double().numpy()
        on_x, on_c = (side.double().numpy() @ self.turn for side in (x @ self.own.T, c @ self.own.T))
        found = []
        for spread in SPREADS:
            inside = others * self.variance + noise**2 + 1e-300
            beyond = others * self.rest * spread + noise**2 + 1e-300
            weight = 1.0 / inside - 1.0 / beyond
            scaled = on_x * weight
            inner = (scaled * on_x).sum(1)[:, None] - 2.0 * scaled @ on_c.T + ((on_c**2) @ weight)[None]
            total = inner + np.maximum(square, 0.0) / beyond
            found.append(total - total.min(1, keepdims=True))
        return np.stack(found, 2)


def fit_density(gradients: Tensor) -> Density:
    """From gradients of the attacker's own records, `(n, d)`."""
    half = len(gradients) // 2
    rest = _beyond(gradients[:half], gradients[half:])
    mean = gradients.mean(0)
    own = gradients - mean
    values, vectors = np.linalg.eigh((own @ own.T).double().numpy())
    keep = values > 1e-7 * values[-1]
    turn = vectors[:, keep] / np.sqrt(values[keep])
    return Density(mean, own, turn, values[keep] / len(own), rest)


def _beyond(one: Tensor, other: Tensor) -> float:
    """Mean variance of other records in the directions that the first do not span."""
    one, other = one - one.mean(0), other - one.mean(0)
    values, vectors = np.linalg.eigh((one @ one.T).double().numpy())
    keep = values > 1e-7 * values[-1]
    on = (other @ one.T).double().numpy() @ (vectors[:, keep] / np.sqrt(values[keep]))
    left = (other**2).sum(1).double().numpy() - (on**2).sum(1)
    return float(max(left.mean(), 1e-12 * float((other**2).sum(1).mean())) / max(1, one.shape[1] - keep.sum()))


def flat(matrices: list[Tensor]) -> Tensor:
    """All layers of one record or batch after another: `(d,)`, or `(n, d)` of several."""
    first = matrices[0].dim() - 2
    return torch.cat([one.flatten(first) for one in matrices], -1)
