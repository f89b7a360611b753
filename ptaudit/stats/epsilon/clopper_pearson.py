"""Epsilon from the error rates of a distinguisher: holds for every mechanism."""

from __future__ import annotations

from numpy.typing import ArrayLike

from ptaudit.stats.epsilon.bound import CONFIDENCE, Adjacency, EpsilonBound, log_ratio, refuse_unless
from ptaudit.stats.epsilon.threshold import Threshold


def clopper_pearson(
    threshold: Threshold,
    h0: ArrayLike,
    h1: ArrayLike,
    *,
    delta: float,
    adjacency: Adjacency,
    confidence: float = CONFIDENCE,
) -> EpsilonBound:
    """Lower bound on epsilon from independent games under H0 and under H1 (Kairouz et al. 2015, theorem 2.1).

    (epsilon, delta)-DP forces FPR + e^epsilon FNR >= 1 - delta and the same with the rates swapped, so
    epsilon >= log((1 - delta - FNR) / FPR) and log((1 - delta - FPR) / FNR), at the joint upper ends of both rates
    (one-sided Clopper-Pearson at half the error each). The games must be independent: one is one run of the mechanism.

    Args:
        threshold: chosen on other games, or before any.
        h0: (n0,) scores of the reported games under H0, higher = more like H1.
        h1: (n1,) scores of the reported games under H1.
        delta: of the epsilon, in [0, 1).
        adjacency: of the two hypotheses.
        confidence: of the bound.

    Returns:
        The bound; 0 without games.

    Raises:
        ValueError: for options out of range, NaN scores, or the games the threshold was chosen on.
    """
    refuse_unless(delta, adjacency, confidence)
    judged = threshold.judge(h0, h1, confidence)
    return EpsilonBound(
        _epsilon(*judged.rates, delta), confidence, delta, adjacency, "clopper-pearson", judged.games, threshold,
        _epsilon(*judged.best, delta), rates=judged.rates,
    )  # fmt: skip


def _epsilon(fpr: float, fnr: float, delta: float) -> float:
    return max(log_ratio(1.0 - delta - fnr, fpr), log_ratio(1.0 - delta - fpr, fnr))
