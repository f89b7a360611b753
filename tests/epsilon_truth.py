"""Epsilon of Gaussian steps by their noise multiplier, and the other way round."""

from __future__ import annotations

from scipy.optimize import brentq

from ptaudit.stats.epsilon import gaussian_epsilon, gaussian_mu


def gaussian_mechanism_epsilon(sigma, delta, adjacency, steps=1):
    """Exact epsilon of composed full-batch steps."""
    return gaussian_epsilon(gaussian_mu(sigma, adjacency, steps), delta)


def sigma_for(epsilon, delta, adjacency, steps=1):
    """The noise multiplier at which so many steps have exactly this epsilon."""

    def over(sigma):
        return gaussian_mechanism_epsilon(sigma, delta, adjacency, steps) - epsilon

    return brentq(over, 0.05, 1e5, xtol=1e-12, rtol=1e-12)
