"""Planted secrets in Gaussian tokens, the exact bits about them, and observations that are not linear."""

import math
from dataclasses import dataclass

import numpy as np
import torch
from identity_truth import gaussian
from scipy.stats import binom, norm

from ptaudit.games.common.observed_view import ObservedView
from ptaudit.views.observation import TokenObservation


def planted(n, k, distance, share, seed):
    """Tokens of unit variance; those of a share of the records are shifted by `distance` along the diagonal."""
    has = torch.rand(n, generator=torch.Generator().manual_seed(1000 + seed)) < share
    return (gaussian(n, k, seed) + distance / math.sqrt(k) * has[:, None])[None], has


def observed(view, now, groups=((0,),), plain=None, known=None, **options):
    """A view that the adversary knows as it is, unless something else is known."""
    return ObservedView(view, now, known or now, plain, groups, late=known is not None, **options)


def mixture_bits(holders, distance, scale, prior):
    """I(S; x) where x is Gaussian around `distance` times a number j whose distribution given s is `holders[s]`.

    Only the axis of the shift tells, so this is the mutual information of the secret and the whole observation.
    """
    values = len(holders[0])
    grid = np.linspace(-10 * scale, 10 * scale + values * distance, 20_001)
    given = np.array(
        [(w[:, None] * norm.pdf(grid, np.arange(values)[:, None] * distance, scale)).sum(0) for w in holders]
    )
    joint = np.array(prior)[:, None] * given
    total = joint.sum(0)
    with np.errstate(divide="ignore", invalid="ignore"):
        terms = np.where(joint > 1e-200, joint * np.log2(joint / (np.array(prior)[:, None] * total)), 0.0)
    return float(terms.sum() * (grid[1] - grid[0]))


def attribute_bits(distance, m, share, noise=0.0):
    """One record has the attribute or not; each of the m-1 others has it with probability `share`."""
    others = binom.pmf(np.arange(m), m - 1, share)
    holders = [np.append(others, 0.0), np.insert(others, 0, 0.0)]
    return mixture_bits(holders, distance, math.sqrt(m + noise**2), [1 - share, share])


def property_bits(distance, m, noise=0.0):
    return mixture_bits([np.array([1.0, 0.0]), np.array([0.0, 1.0])], distance, math.sqrt(m + noise**2), [0.5, 0.5])


def ratio_bits(distance, m, ratios, noise=0.0):
    holders = [binom.pmf(np.arange(m + 1), m, ratio) for ratio in ratios]
    return mixture_bits(holders, distance, math.sqrt(m + noise**2), [1 / len(ratios)] * len(ratios))


def channel_bits(distance):
    """Bits about a fair coin in a unit Gaussian whose two centres lie `distance` apart."""
    fair = [np.array([1.0, 0.0]), np.array([0.0, 1.0])]
    return mixture_bits(fair, distance, 1.0, [0.5, 0.5])


class OnlySketches:
    """Nothing is known as a matrix."""

    random = False

    def read(self, members, generator):
        return iter(())


@dataclass(frozen=True)
class SignObservation(OnlySketches):
    """The signs of the sum, at a fixed size: what signed gradients show."""

    tokens: torch.Tensor
    size: float = 1.0

    def observe(self, members, generator):
        return self.size * TokenObservation(self.tokens).observe(members, generator).sign()


@dataclass(frozen=True)
class Wrapped(OnlySketches):
    """An observation of which nothing is known."""

    inner: TokenObservation

    def observe(self, members, generator):
        return self.inner.observe(members, generator)
