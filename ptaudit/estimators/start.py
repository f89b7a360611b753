"""Where a critic starts: the data in good coordinates and a critic in closed form, learned on part `TRAIN`.

For continuous y that critic is the log density ratio of a normal pair with the canonical correlations of the normal
scores, corrected for the number of coordinates; for classes it is the linear discriminant. A network then learns only
what these miss. All of it is separable: a dot product and a term for each side.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from ptaudit.estimators.base import TRAIN, Pairs
from ptaudit.estimators.gaussianise import fit_margins, fit_sphere

RECORDS_PER_COORDINATE = 3
"""Training pairs for each principal component that is kept; data of few coordinates keep them all."""

ALWAYS_KEPT = 16
MOST_KEPT = 128
_SURE = 0.9999
"""Largest canonical correlation."""


@dataclass(frozen=True)
class Start:
    """P problems, ready for training.

    Attributes:
        x: inputs of the critic's network, `(P, G, i)`.
        y: likewise, `(P, G, j)`; one-hot for classes.
        u: the closed form is `u · v + a + b`: `(P, G, k)`.
        v: see `u`.
        a: term of x, `(P, G)`.
        b: term of y, `(P, G)`.
    """

    x: Tensor
    y: Tensor
    u: Tensor
    v: Tensor
    a: Tensor
    b: Tensor

    def map(self, change: Callable[[Tensor], Tensor]) -> Start:
        """The same change on every tensor."""
        return Start(*(change(each) for each in (self.x, self.y, self.u, self.v, self.a, self.b)))

    def pairs(self, index: Tensor) -> Start:
        """Some of the pairs."""
        return self.map(lambda each: each[:, index])

    def problems(self, index: Tensor) -> Start:
        """Some of the problems."""
        return self.map(lambda each: each[index])


def start(pairs: Pairs) -> Start:
    """Coordinates and closed form of every problem; constant coordinates say nothing and are harmless."""
    learned = torch.nonzero(pairs.part == TRAIN).flatten()
    x, size = _coordinates(pairs.x, learned)
    if pairs.discrete:
        return _discriminant(x, size, pairs.y, learned)
    y, other = _coordinates(pairs.y, learned)
    y, other = y.expand(len(x), -1, -1), other.expand(len(x), -1, -1)
    return _canonical(x, size, y, other, learned)


def _coordinates(points: Tensor, learned: Tensor) -> tuple[Tensor, Tensor]:
    """Whitened normal scores `(P, G, k)` and the score of the size `(P, G, 1)`."""
    exact = points if points.dtype == torch.float64 else points.float()
    scores = fit_margins(exact[:, learned])(exact).float()
    coordinates, size = scores[..., :-1], scores[..., -1:]
    d = points.shape[-1]
    few = min(max(ALWAYS_KEPT, len(learned) // RECORDS_PER_COORDINATE), MOST_KEPT)
    return fit_sphere(coordinates[:, learned], min(d, few))(coordinates), size


def _canonical(x: Tensor, size: Tensor, y: Tensor, other: Tensor, learned: Tensor) -> Start:
    n, p, q = len(learned), x.shape[-1], y.shape[-1]
    left, found, right = torch.linalg.svd((x[:, learned].mT @ y[:, learned] / n).double())
    rho = true_correlations(found, p, q, n)
    x, y = x @ left.to(x), y @ right.mT.to(y)
    rho, k = rho.float()[:, None], found.shape[-1]
    u, v = x[..., :k], y[..., :k]
    share = rho**2 / (2.0 * (1.0 - rho**2))
    half = -0.25 * torch.log1p(-(rho**2)).sum(-1)
    a, b = half - (share * u**2).sum(-1), half - (share * v**2).sum(-1)
    return Start(torch.cat([x, size], -1), torch.cat([y, other], -1), u * rho / (1.0 - rho**2), v, a, b)


def true_correlations(found: Tensor, p: int, q: int, n: int) -> Tensor:
    """Canonical correlations behind the largest ones of a sample; 0 for those that chance explains.

    Inverts the limit of Bao, Hu, Pan and Zhou (arXiv 1704.02408) for p and q coordinates and n
    draws: sample r² = (t (1 - c) + c)(t (1 - d) + d) / t with t = rho², c = p/n, d = q/n.
    """
    c, d = min(p / n, 0.5), min(q / n, 0.5)
    square = found.clamp_max(_SURE) ** 2
    one, two = (1.0 - c) * (1.0 - d), (1.0 - c) * d + c * (1.0 - d) - square
    inner = two**2 - 4.0 * one * c * d
    root = (-two + inner.clamp_min(0.0).sqrt()) / (2.0 * one)
    return torch.where((inner > 0.0) & (two < 0.0), root, 0.0).clamp(0.0, _SURE**2).sqrt()


def _discriminant(x: Tensor, size: Tensor, y: Tensor, learned: Tensor) -> Start:
    _, classes = torch.unique(y, return_inverse=True)
    hot = torch.nn.functional.one_hot(classes).float().expand(len(x), -1, -1)
    known, seen = hot[:, learned], x[:, learned]
    count = known.sum(1)[..., None]
    centres = known.mT @ seen / (count + 1.0)
    within = (seen - known @ centres).double()
    scatter = within.mT @ within / len(learned)
    scatter.diagonal(dim1=-2, dim2=-1).add_(1e-3)
    factor = torch.linalg.cholesky(scatter).float()
    white, u = (torch.linalg.solve_triangular(factor, points.mT, upper=False).mT for points in (centres, x))
    term = -0.5 * white.square().sum(-1)
    prior = (count[..., 0] + 1.0).log() - (count[..., 0] + 1.0).sum(-1, keepdim=True).log()
    a = -(u @ white.mT + (term + prior)[:, None]).logsumexp(-1)
    return Start(torch.cat([x, size], -1), hot, u, hot @ white, a, (hot @ term[..., None])[..., 0])
