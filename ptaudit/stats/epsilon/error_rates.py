"""Epsilon from the error rates of a threshold on games: for every mechanism, and far tighter for Gaussian ones."""

from __future__ import annotations

from numpy.typing import ArrayLike
from scipy.special import ndtri

from ptaudit.stats.epsilon.bound import CONFIDENCE, Adjacency, EpsilonBound, log_ratio, refuse_unless
from ptaudit.stats.epsilon.mechanism import gaussian_epsilon
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


def gaussian_dp(
    threshold: Threshold,
    h0: ArrayLike,
    h1: ArrayLike,
    *,
    delta: float,
    adjacency: Adjacency,
    confidence: float = CONFIDENCE,
) -> EpsilonBound:
    """Lower bound on epsilon of a mechanism whose trade-off curve is KNOWN to be Gaussian (Nasr et al. 2023).

    Such a mechanism is mu-GDP for some mu, and no distinguisher of it beats FNR = Phi(Phi^-1(1 - FPR) - mu). So
    mu >= Phi^-1(1 - FPR) - Phi^-1(FNR) at the joint upper ends of both rates, and mu becomes (epsilon, delta) exactly
    (Dong, Roth and Su 2022, corollary 2.13).

    Valid ONLY for steps that use every record (or a batch fixed beforehand) and add Gaussian noise, and for any number
    of such steps composed. With sampled batches the curve is not Gaussian and the result is no lower bound: use
    `clopper_pearson` or `one_run`.

    The arguments are those of `clopper_pearson`; delta is above 0, and 0 is the threshold of a log-likelihood ratio.

    Raises:
        ValueError: for options out of range, NaN scores, or the games the threshold was chosen on.
    """
    refuse_unless(delta, adjacency, confidence)
    if delta == 0.0:
        raise ValueError("delta must be above 0: no Gaussian mechanism has an epsilon without it")
    judged = threshold.judge(h0, h1, confidence)
    mu = _mu(*judged.rates)
    return EpsilonBound(
        gaussian_epsilon(mu, delta), confidence, delta, adjacency, "gaussian-dp", judged.games, threshold,
        gaussian_epsilon(_mu(*judged.best), delta), rates=judged.rates, mu=mu,
    )  # fmt: skip


def _mu(fpr: float, fnr: float) -> float:
    """At least 0, also where a rate that may be anything makes it minus infinity."""
    return max(float(-ndtri(fpr) - ndtri(fnr)), 0.0)
