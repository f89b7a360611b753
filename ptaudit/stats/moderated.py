"""Variances of many records, each from few values, that lend each other strength (Smyth 2004)."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.special import digamma, polygamma

Array = NDArray[np.float64]

STRONGEST = 1e6
"""Most that a prior is worth, in values."""

WEAKEST = 1e-3
"""Least that a prior is worth, in values."""


def variance_prior(variance: Array, dof: Array) -> tuple[float, float]:
    """Degrees of freedom and centre of the scaled inverse chi-square prior of n true variances.

    A log variance with d degrees of freedom has mean log(sigma^2) + digamma(d/2) - log(d/2) and variance trigamma(d/2);
    what the records' log variances vary beyond that is the prior's trigamma. Where records differ no more than chance,
    they share one variance.

    Args:
        variance: (n,), above 0.
        dof: (n,), above 0.
    """
    half = dof / 2.0
    logs = np.log(variance) - digamma(half) + np.log(half)
    beyond = float(logs.var() - polygamma(1, half).mean())
    most, least = STRONGEST / 2.0, WEAKEST / 2.0

    def excess(log_half: float) -> float:
        return float(polygamma(1, math.exp(log_half))) - beyond

    if excess(math.log(most)) >= 0.0:
        prior = most
    elif excess(math.log(least)) <= 0.0:
        prior = least
    else:
        prior = math.exp(brentq(excess, math.log(least), math.log(most)))
    return 2.0 * prior, math.exp(float(logs.mean()) + float(digamma(prior)) - math.log(prior))


def moderated(variance: Array, dof: Array) -> Array:
    """Each record's variance (n,) drawn towards what is common, as far as its own few values leave it open."""
    strength, centre = variance_prior(variance, dof)
    return np.asarray((strength * centre + dof * variance) / (strength + dof))
