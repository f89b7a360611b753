"""Epsilon of a GAUSSIAN mechanism from one run: the f-DP audit of Mahloujifar, Melis and Chaudhuri, arXiv 2410.22235.

Each of m canaries has a secret drawn by a fair coin, as in `one_run`. A mechanism with trade-off curve f bounds, for
each number of right guesses i, how much likelier it is to guess a canary right among i than wrong among i - 1; with
p_i the probability of i right guesses of k, and g the inverse of 1 - f,

    h_(i-1) >= g(r_i),   r_i = sum over j >= i of j p_j / m,   h_i = sum over j >= i of (k - j) p_j / m.

Of all p with at least `level` at v or more, the one with just that at v alone and the least that g allows below v adds
up to the least. Where even that is more than 1, no mechanism with this curve guesses so well so often.

Against `one_run`: there the curve is any of (epsilon, delta)-DP, so that delta times canaries must be small; here it
is known, and delta enters only when mu becomes an epsilon. The gain is the curve: with that of (epsilon, delta)-DP
the inequalities reject a little less than `one_run` does (700 right of 1,000: 0.72 against 0.73; Gaussian: 1.37).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri

from ptaudit.stats.epsilon.bound import CONFIDENCE, Adjacency, EpsilonBound, refuse_unless
from ptaudit.stats.epsilon.mechanism import gaussian_epsilon
from ptaudit.stats.epsilon.rates import Guesses

Array = NDArray[np.float64]
Curve = Callable[[Array], Array]
"""g: the least probability of an event under one secret, from that under the other; increasing and convex, 0 at 0."""

_MOST, _GRID, _ROUNDS = 64.0, 33, 7


def one_run_gaussian(
    guesses: Guesses, correct: int, canaries: int, *, delta: float, adjacency: Adjacency
) -> EpsilonBound:
    """Lower bound on epsilon of a mechanism whose trade-off curve is KNOWN to be Gaussian, from one run.

    It is the epsilon of the largest mu that the guesses reject. Valid ONLY for what `gaussian_dp` is valid for: steps
    that use every record, with Gaussian noise, composed however often. For sampled batches use `one_run`. Which of the
    two a run uses must be settled before it: the better of both has not the confidence of either.

    Args:
        guesses: numbers of guesses, fixed beforehand.
        correct: guesses that were right (`count_correct`).
        canaries: all canaries m of the run whose secrets were drawn, also those abstained from.
        delta: of the epsilon, above 0 and below 1.
        adjacency: what the coin of a canary decided.

    Returns:
        The bound, with confidence `CONFIDENCE`, and its mu; 0 without guesses.

    Raises:
        ValueError: for options out of range, or unless correct <= guesses <= canaries.
    """
    refuse_unless(delta, adjacency, CONFIDENCE)
    if delta == 0.0:
        raise ValueError("delta must be above 0: no Gaussian mechanism has an epsilon without it")
    if not 0 <= correct <= guesses.made <= canaries:
        raise ValueError(f"{correct} right of {guesses.made} guesses about {canaries} canaries")
    mu, best = (_largest_rejected(canaries, guesses.made, v) for v in (correct, guesses.made))
    return EpsilonBound(
        gaussian_epsilon(mu, delta), CONFIDENCE, delta, adjacency, "one-run-gaussian", canaries, guesses,
        gaussian_epsilon(best, delta), correct=(guesses.made, correct), mu=mu,
    )  # fmt: skip


def gaussian_curve(mu: Array) -> Curve:
    """g of mu-GDP: Phi(Phi^-1(x) - mu); `mu` of any shape, of which g's arguments are too."""
    return lambda x: np.asarray(ndtr(ndtri(x) - mu))


def rejected(curve: Curve, canaries: int, guesses: int, correct: int, level: Array) -> NDArray[np.bool_]:
    """Whether no mechanism with a curve makes `correct` right guesses or more with probability `level`.

    Args:
        curve: g, of arrays with the shape of `level`.
        canaries: m.
        guesses: k, at most m.
        correct: v, at most k.
        level: between 0 and 1, any shape.
    """
    right, wrong = level * correct / canaries, level * (guesses - correct) / canaries
    for i in range(correct - 1, -1, -1):
        more = np.maximum(curve(np.minimum(right, 1.0)) - wrong, 0.0)
        if not more.any():
            break
        wrong, right = wrong + more, right + i / (guesses - i) * more
    return np.asarray(right + wrong > guesses / canaries)


def _largest_rejected(canaries: int, guesses: int, correct: int) -> float:
    """Largest mu that is rejected, 0 where none is; the larger mu, the less is."""
    low, high = 0.0, _MOST
    for _ in range(_ROUNDS):
        mu = np.linspace(low, high, _GRID)
        found = rejected(gaussian_curve(mu), canaries, guesses, correct, np.full(_GRID, 1.0 - CONFIDENCE))
        if not found[0]:
            return low
        last = int(np.flatnonzero(found)[-1])
        low, high = float(mu[last]), float(mu[min(last + 1, _GRID - 1)])
    return low
