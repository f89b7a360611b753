"""From scores of the canaries of one training to a bound on its epsilon."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from ptaudit.spec.canaries import CanarySpec
from ptaudit.stats.epsilon import Adjacency, EpsilonBound, Guesses, count_correct, one_run, one_run_gaussian

_BOUNDS = {"one-run": one_run, "one-run-gaussian": one_run_gaussian}

_SHARE = 0.25
"""Of the canaries, the share guessed to have one secret, and the share guessed to have the other."""


def of_training(
    spec: CanarySpec, scores: NDArray[np.float64], secret: NDArray[np.int64], adjacency: Adjacency, seed: int
) -> EpsilonBound:
    """The bound that a spec names, from guesses about the surest half of the canaries.

    Args:
        spec: which bound, named before the run, and its delta.
        scores: how much speaks for secret 1, `(C,)`.
        secret: 0 or 1, by the toss of a coin, `(C,)`.
        adjacency: what the coin decided.
        seed: of the order among equal scores.
    """
    half = math.floor(len(secret) * _SHARE)
    guesses = Guesses(half, half)
    right = count_correct(guesses, scores, secret, seed)
    return _BOUNDS[spec.run_test](guesses, right, len(secret), delta=spec.delta, adjacency=adjacency)
