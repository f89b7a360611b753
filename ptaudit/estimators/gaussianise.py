"""Coordinates with normal margins, learned on some of the pairs and applied to all.

Mutual information does not change under monotone maps of single coordinates, and a bound on what a map of the data
tells is a bound on what the data tell. Normal scores take heavy tails (gradients have them) and odd units away before a
critic is trained; a column for the size of the whole vector is added: the size is what heavy tails have in common.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

_TINY = 1e-30


@dataclass(frozen=True)
class Margins:
    """Empirical distribution of each coordinate.

    Attributes:
        middle: medians, `(P, 1, d)`.
        spread: mean absolute deviations from them, not zero, `(P, 1, d)`.
        knots: sorted values of the coordinates and of the size, `(P, d + 1, n)`.
    """

    middle: Tensor
    spread: Tensor
    knots: Tensor

    def __call__(self, points: Tensor) -> Tensor:
        """Normal scores, `(P, G, d)` -> `(P, G, d + 1)`, the size last.

        Between knots the rank is interpolated linearly, beyond them the score grows with the log of the excess.
        """
        values = _with_size(points, self.middle, self.spread).mT.contiguous()
        knots, n = self.knots, self.knots.shape[-1]
        below, above = (torch.searchsorted(knots, values, right=right) for right in (False, True))
        left = knots.gather(-1, (below - 1).clamp_min(0))
        right = knots.gather(-1, below.clamp_max(n - 1))
        between = ((values - left) / (right - left).clamp_min(_TINY)).clamp(0.0, 1.0) - 0.5
        rank = (below + above) / 2.0 + torch.where(below == above, between, 0.0)
        scores = torch.special.ndtri(rank.clamp(0.5, n - 0.5) / n)
        excess = (values - knots[..., -1:]).clamp_min(0.0) - (knots[..., :1] - values).clamp_min(0.0)
        reach = (knots[..., -1:] - knots[..., :1]).clamp_min(_TINY)
        result: Tensor = (scores + excess.sign() * (excess.abs() / reach).log1p()).mT
        return result


def fit_margins(points: Tensor) -> Margins:
    """The margins of some points, `(P, n, d)`."""
    middle = points.median(1, keepdim=True).values
    spread = (points - middle).abs().mean(1, keepdim=True)
    spread = torch.where(spread > 0.0, spread, torch.ones_like(spread))
    knots = _with_size(points, middle, spread).mT.contiguous().sort(-1).values
    return Margins(middle, spread, knots)


def _with_size(points: Tensor, middle: Tensor, spread: Tensor) -> Tensor:
    size = torch.linalg.vector_norm((points - middle) / spread, dim=-1, keepdim=True)
    return torch.cat([points, size], -1)


@dataclass(frozen=True)
class Sphere:
    """Leading principal components of unit variance: `(points - mean) @ axes`; mean `(P, 1, d)`, axes `(P, d, k)`."""

    mean: Tensor
    axes: Tensor

    def __call__(self, points: Tensor) -> Tensor:
        """`(P, G, d)` -> `(P, G, k)`."""
        return (points - self.mean) @ self.axes


_FLOOR = 1e-6
"""Least variance of a component, as a share of the largest: what is below is rounding and is left out."""


def fit_sphere(points: Tensor, most: int) -> Sphere:
    """At most `most` leading components of points `(P, n, d)`; a direction without variance becomes zero."""
    mean = points.mean(1, keepdim=True)
    centred = (points - mean).double()
    variance, axes = torch.linalg.eigh(centred.mT @ centred / centred.shape[1])
    variance, axes = variance.flip(-1)[:, :most], axes.flip(-1)[..., :most]
    real = variance > _FLOOR * variance[:, :1].clamp_min(_TINY)
    scale = torch.where(real, variance, 1.0).rsqrt() * real
    return Sphere(mean, (axes * scale[:, None]).to(points))
