"""The epsilon that a Gaussian mechanism really has: what the bounds of an audit are held against.

Sources: Dong, Roth and Su 2022 (Gaussian differential privacy); Balle and Wang 2018 (the exact Gaussian mechanism).
"""

from __future__ import annotations

import math
from collections.abc import Callable

from scipy.optimize import brentq
from scipy.special import log_ndtr, ndtr

from ptaudit.stats.epsilon.bound import Adjacency, refuse_unless

SENSITIVITY: dict[Adjacency, float] = {"add/remove": 1.0, "replace-one": 2.0}
"""Most change of a sum of clipped gradients, in units of the clipping norm."""

_PRECISE = 1e-12


def gaussian_mu(sigma: float, adjacency: Adjacency, steps: int = 1) -> float:
    """Mu of Gaussian DP of composed full-batch steps: sqrt(T)/sigma for add/remove, twice that for replace-one.

    Args:
        sigma: noise multiplier, standard deviation over clipping norm.
        adjacency: which records differ.
        steps: number of steps T, each using all records.

    Returns:
        Mu; infinite without noise, 0 without a step.

    Raises:
        ValueError: for noise or steps below 0, or an unknown adjacency.
    """
    refuse_unless(0.0, adjacency, 0.5)
    if not sigma >= 0.0 or steps < 0:
        raise ValueError(f"noise multiplier and steps must be at least 0, given {sigma} and {steps}")
    if steps == 0:
        return 0.0
    return math.inf if sigma == 0.0 else SENSITIVITY[adjacency] * math.sqrt(steps) / sigma


def gaussian_delta(epsilon: float, mu: float) -> float:
    """Least delta of a mu-GDP mechanism at an epsilon: Phi(-eps/mu + mu/2) - e^eps Phi(-eps/mu - mu/2)."""
    if mu <= 0.0:
        return 0.0
    if math.isinf(mu):
        return 0.0 if math.isinf(epsilon) else 1.0
    return math.exp(_log_delta(epsilon, mu))


def gaussian_epsilon(mu: float, delta: float) -> float:
    """Least epsilon of a mu-GDP mechanism at a delta, exact (to 1e-12); infinite where there is none.

    Raises:
        ValueError: delta is out of [0, 1).
    """
    refuse_unless(delta, "add/remove", 0.5)
    if mu <= 0.0 or 2.0 * ndtr(mu / 2.0) - 1.0 <= delta:
        return 0.0
    if delta == 0.0 or math.isinf(mu):
        return math.inf
    # At this epsilon the first term alone is below delta.
    most = mu * mu / 2.0 + mu * math.sqrt(2.0 * math.log(1.0 / delta)) + 1.0
    return float(brentq(lambda epsilon: _log_delta(epsilon, mu) - math.log(delta), 0.0, most, xtol=_PRECISE))


def replace_one_epsilon(add_remove: Callable[[float], float], delta: float) -> float:
    """An UPPER bound on the replace-one epsilon from an add/remove accountant, by group privacy of two.

    Replacing a record is removing one and adding another: a mechanism that is (eps, d)-DP for add/remove is
    (2 eps, (1 + e^eps) d)-DP for replace-one. The d is the largest found, by bisection, for which that stays within
    `delta`. True for sampled batches as well; for full-batch Gaussian steps `gaussian_epsilon` is exact and smaller. A
    bound, so an audit below it shows no fault and only one above it does.

    Args:
        add_remove: epsilon for add/remove at a delta, e.g. an accountant's `get_epsilon`; never increasing in delta.
        delta: of the replace-one epsilon, in (0, 1).

    Returns:
        The bound; infinite where no delta is found.

    Raises:
        ValueError: delta is out of range.
    """
    if not 0.0 < delta < 1.0:
        raise ValueError(f"delta must be between 0 and 1, given {delta}")

    def within(log_share: float) -> bool:
        return log_share + _softplus(add_remove(math.exp(log_share))) <= math.log(delta)

    high = math.log(delta)
    low = high - 1.0
    while not within(low):
        low = high - 2.0 * (high - low)
        if low < -600.0:
            return math.inf
    for _ in range(50):
        middle = (low + high) / 2.0
        low, high = (middle, high) if within(middle) else (low, middle)
    return 2.0 * add_remove(math.exp(low))


def _softplus(x: float) -> float:
    """log(1 + e^x)."""
    return max(x, 0.0) + math.log1p(math.exp(-abs(x)))


def _log_delta(epsilon: float, mu: float) -> float:
    first = float(log_ndtr(-epsilon / mu + mu / 2.0))
    second = epsilon + float(log_ndtr(-epsilon / mu - mu / 2.0))
    return first + math.log(-math.expm1(second - first)) if second < first else -math.inf
