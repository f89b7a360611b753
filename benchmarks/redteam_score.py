"""Bits that probabilities of secrets are worth, with intervals over the records (or users) that are asked about."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from redteam_world import Array, Index

RESAMPLES = 2000
NEAR = 0.99
"""Share of the ceiling from which on the rule of three bounds the interval."""


@dataclass(frozen=True)
class Score:
    """Bits, 95 % interval and ceiling."""

    value: float
    lo: float
    hi: float
    ceiling: float


def score(q: Array, prior: Array, truth: Array, unit: Index, seed: int = 0) -> Score:
    """Prior cross-entropy less the attacker's, in bits.

    The interval resamples units, not games. That games also share the records which hide the target is not in it.

    Args:
        q: probabilities of every answer, `(G, K)`.
        prior: without the gradient, `(G, K)`.
        truth: 1 for the true answer; or the share of the records of the batch that have each, whichever of them was
            meant, `(G, K)`.
        unit: what the game asks about, `(G,)`.
        seed: of the resamples.
    """
    bits = (truth * (np.log2(q) - np.log2(prior))).sum(1)
    rng = np.random.default_rng(seed)
    place = np.unique(unit, return_inverse=True)[1]
    count = np.bincount(place).astype(np.float64)
    total = np.bincount(place, bits)
    drawn = rng.integers(len(count), size=(RESAMPLES, len(count)))
    means = total[drawn].sum(1) / count[drawn].sum(1)
    value, (lo, hi) = float(bits.mean()), np.quantile(means, [0.025, 0.975])
    ceiling = float(-(truth * np.log2(prior)).sum(1).mean())
    if value >= NEAR * ceiling:
        lo = min(float(lo), ceiling * (1.0 - 3.0 / len(count)))
    return Score(value, float(lo), float(hi), ceiling)
