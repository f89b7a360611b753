"""Epsilon from ONE run with many independent canaries: Steinke, Nasr and Jagielski, arXiv 2305.08846, theorem 5.2.

Each of m canaries has a secret drawn by a fair coin of its own: whether it is a member (add/remove), or which of two
values it has (replace-one). Of r guesses, chosen by the one who attacks, v are right.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import betainc, expit, gammaln, xlog1py, xlogy

from ptaudit.stats.epsilon.bound import CONFIDENCE, Adjacency, EpsilonBound, refuse_unless
from ptaudit.stats.epsilon.rates import Guesses

_GRID, _BISECTIONS = 256, 50


def one_run(guesses: Guesses, correct: int, canaries: int, *, delta: float, adjacency: Adjacency) -> EpsilonBound:
    """Lower bound on epsilon from right guesses about the canaries of one run.

    It is the smallest epsilon that the guesses do not reject, so it holds also where the p-value is not monotone.

    Args:
        guesses: numbers of guesses, fixed beforehand.
        correct: guesses that were right (`count_correct`).
        canaries: all canaries m of the run whose secrets were drawn, also those abstained from.
        delta: of the epsilon, in [0, 1); the bound is useless where delta times canaries is not small.
        adjacency: what the coin of a canary decided.

    Returns:
        The bound, with confidence `CONFIDENCE`; 0 without guesses.

    Raises:
        ValueError: for options out of range, or unless correct <= guesses <= canaries.
    """
    refuse_unless(delta, adjacency, CONFIDENCE)
    made = guesses.made
    if not 0 <= correct <= made <= canaries:
        raise ValueError(f"{correct} right of {made} guesses about {canaries} canaries")
    found, best = (_largest_rejected(canaries, made, v, delta, 1.0 - CONFIDENCE) for v in (correct, made))
    return EpsilonBound(
        found, CONFIDENCE, delta, adjacency, "one-run", canaries, guesses, best, correct=(made, correct)
    )


def p_value(canaries: int, guesses: int, correct: int, epsilon: ArrayLike, delta: float) -> NDArray[np.float64]:
    """Most probability that a mechanism with this epsilon and delta allows so many right guesses or more.

    f(v) + 2 m delta max_i (f(v - i) - f(v)) / i, where f(v) = P[Binomial(r, e^eps / (1 + e^eps)) >= v].

    Args:
        canaries: m.
        guesses: r, at most m.
        correct: v, at most r.
        epsilon: any shape, at least 0.
        delta: in [0, 1).

    Returns:
        Probabilities of the shape of `epsilon`.
    """
    accuracy = expit(np.asarray(epsilon, dtype=np.float64))
    tail: NDArray[np.float64] = np.asarray(betainc(correct, guesses - correct + 1, accuracy) if correct else 1.0)
    tail = np.broadcast_to(tail, accuracy.shape)
    if delta == 0.0 or correct == 0:
        return tail
    back = np.arange(1, correct + 1)
    below = np.cumsum(_binomial(correct - back, guesses, accuracy[..., None]), axis=-1)
    return np.asarray(np.minimum(tail + 2.0 * canaries * delta * (below / back).max(-1), 1.0))


def _binomial(count: NDArray[np.int64], n: int, p: NDArray[np.float64]) -> NDArray[np.float64]:
    """P[Binomial(n, p) = count], by broadcasting; many times faster than scipy.stats."""
    ways = gammaln(n + 1) - gammaln(count + 1) - gammaln(n - count + 1)
    return np.asarray(np.exp(ways + xlogy(count, p) + xlog1py(n - count, -p)))


def _largest_rejected(canaries: int, guesses: int, correct: int, delta: float, level: float) -> float:
    """Largest epsilon up to which every epsilon has a p-value below `level`: a grid finds the first, then bisection."""
    if guesses == 0 or p_value(canaries, guesses, correct, 0.0, delta) >= level:
        return 0.0
    # All right and no delta is the most that can be rejected: accuracy^r = level.
    accuracy = level ** (1.0 / guesses)
    grid = np.linspace(0.0, math.log(accuracy / (1.0 - accuracy)) + 1e-9, _GRID + 1)
    kept = p_value(canaries, guesses, correct, grid, delta) >= level
    first = int(kept.argmax()) if kept.any() else _GRID
    low, high = float(grid[first - 1]), float(grid[first])
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2.0
        rejected = bool(p_value(canaries, guesses, correct, middle, delta) < level)
        low, high = (middle, high) if rejected else (low, middle)
    return low
