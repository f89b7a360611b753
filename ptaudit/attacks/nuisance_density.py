"""Density of what hides a candidate: the sum of the other m-1 tokens of a batch, plus noise.

Two models. A Gaussian with Ledoit-Wolf shrinkage is best on light tails; a Student-t fitted by M-estimation survives
the heavy tails that gradients have after the first epochs. Every function is batched over rows (layers): tensors of
shape `(R, n, k)` hold n tokens of k coordinates for each of R rows.

Sources: Ledoit & Wolf, J. Multivariate Analysis 88 (2004); Kent & Tyler, Annals of Statistics 19 (1991) for the
Student-t M-estimate, regularised as in Ollila & Tyler, IEEE Trans. Signal Processing 62 (2014).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

GAUSSIAN = math.inf
"""Degrees of freedom that stand for the Gaussian."""

RADIAL_DEGREES = (GAUSSIAN, 100.0, 30.0, 5.0)
"""Tails tried on a Gaussian's location and scatter, beside the Gaussian's own."""

PLAIN_DEGREES = (GAUSSIAN, 30.0)
"""Tails tried on the scatter that is shrunk to a sphere."""

STUDENT_DEGREES = (1.0, 3.0, 10.0)
"""Degrees of freedom of the M-estimates, in the order of fitting: the most robust first, each from the one before."""

REFINEMENTS = 2

_STEPS = (3, 1, 1)
_TINY = 1e-300
_RIDGE = {torch.float64: 1e-9, torch.float32: 1e-6}
_FAR = 1e15
"""Farthest coordinate in units of the scatter: its square is still a float32."""

_FARTHEST = 1e8
"""The same where the fourth power of a length is taken."""


@dataclass(frozen=True)
class NuisanceDensity:
    """A fitted location and scatter of what hides a candidate, for R rows.

    Attributes:
        mean: location, shape `(R, k)`.
        factor: lower Cholesky factor of the scatter, shape `(R, k, k)`.
        tails: degrees of freedom of the radial densities to try on it; infinity is the Gaussian.
    """

    mean: Tensor
    factor: Tensor
    tails: tuple[float, ...]

    def whiten(self, points: Tensor) -> Tensor:
        """Coordinates in which the scatter is the identity; `points` and result are `(R, n, k)`."""
        return whitened(self.factor, points)

    def distances(self, views: Tensor, candidates: Tensor) -> Tensor:
        """Squared Mahalanobis length of what is left of each view when each candidate is taken out.

        In float32, for speed: origin and scale are taken out before, so that only the spread of the tokens is rounded.

        Args:
            views: sums of the tokens of a batch, `(R, G, k)`.
            candidates: tokens of the candidates, `(R, K, k)`.

        Returns:
            `(R, G, K)`, float32.
        """
        origin = candidates.mean(1)
        size, factor = _unit(self.factor)
        seen = whitened(factor, _single(views, self.mean + origin, size)).clamp_(-_FAR, _FAR)
        known = whitened(factor, _single(candidates, origin, size)).clamp_(-_FAR, _FAR)
        return squared_distances(seen, known)

    def at(self, rows: Sequence[int]) -> NuisanceDensity:
        """The density of some rows."""
        if len(rows) == len(self.mean):
            return self
        return NuisanceDensity(self.mean[list(rows)], self.factor[list(rows)], self.tails)


def _unit(factor: Tensor) -> tuple[Tensor, Tensor]:
    """The size of a Cholesky factor, `(R,)`, and the factor in units of it, in float32."""
    size = factor.abs().amax((-1, -2))
    return size, (factor / size[:, None, None]).float()


def _single(points: Tensor, origin: Tensor, size: Tensor) -> Tensor:
    """Points `(R, n, k)` from an origin `(R, k)` in units of a size `(R,)`, in float32."""
    return (points - origin[:, None]).div_(size[:, None, None]).float().clamp_(-_FAR, _FAR)


def log_density(distance_sq: Tensor, nu: float, k: int) -> Tensor:
    """Log-density of k coordinates, from squared Mahalanobis distances `(..., K)`, up to a constant for each game."""
    if math.isinf(nu):
        return (distance_sq - distance_sq.amin(-1, keepdim=True)).mul_(-0.5)
    return (distance_sq + nu).log_().mul_(-0.5 * (nu + k))


def whitened(factor: Tensor, points: Tensor) -> Tensor:
    """Points `(R, n, k)` in the coordinates where the scatter with Cholesky factor `(R, k, k)` is the identity."""
    solved: Tensor = torch.linalg.solve_triangular(factor, points.mT, upper=False)
    return solved.mT


def squared_distances(a: Tensor, b: Tensor) -> Tensor:
    """Squared Euclidean distances between the rows of `a` (R, G, k) and `b` (R, K, k), as one matrix product."""
    squares = (a * a).sum(-1)[:, :, None] + (b * b).sum(-1)[:, None, :]
    return torch.baddbmm(squares, a, b.mT, alpha=-2.0).clamp_min_(0.0)


def shrinkage(centred: Tensor, scatter: Tensor) -> Tensor:
    """Ledoit-Wolf intensity toward the scaled identity, in [0, 1]; points `(R, n, k)` and their scatter -> `(R,)`."""
    _, n, k = centred.shape
    frobenius = torch.linalg.vector_norm(scatter, dim=(-1, -2)).square()
    spread = frobenius / k - scale_of(scatter).square()
    error = (torch.linalg.vector_norm(centred, dim=-1).pow(4).mean(-1) - frobenius) / (n * k)
    return torch.where(spread > 0, error / spread.clamp_min(_TINY), torch.ones_like(spread)).clamp(0.0, 1.0)


def scale_of(scatter: Tensor) -> Tensor:
    """Mean variance of the coordinates, `(R, k, k)` -> `(R,)`."""
    return scatter.diagonal(dim1=-2, dim2=-1).mean(-1)


def ledoit_wolf(centred: Tensor) -> Tensor:
    """Shrunk scatter of centred points, `(R, n, k)` -> `(R, k, k)`."""
    scatter = centred.mT @ centred / centred.shape[1]
    intensity, scale = shrinkage(centred, scatter), scale_of(scatter)
    scatter *= (1.0 - intensity)[:, None, None]
    scatter.diagonal(dim1=-2, dim2=-1).add_((intensity * scale)[:, None])
    return scatter


def cholesky(scatter: Tensor) -> Tensor:
    """Cholesky factor; a ridge far below any gradient's scale keeps rank-deficient rows (zero gradients) alive."""
    ridge = (_RIDGE[scatter.dtype] * scale_of(scatter)).clamp_min(1e-200)
    ridged = scatter.clone()
    ridged.diagonal(dim1=-2, dim2=-1).add_(ridge[:, None])
    factor, info = torch.linalg.cholesky_ex(ridged)
    if bool((info > 0).any()):
        bad = info > 0
        ridged[bad] = torch.diag_embed(ridged[bad].diagonal(dim1=-2, dim2=-1).clamp_min(1e-200))
        factor = torch.linalg.cholesky(ridged)
    result: Tensor = factor
    return result


def sharpened(factor: Tensor, white: Tensor) -> Tensor:
    """Cholesky factor of the scatter of points, shrunk toward an earlier estimate instead of toward a sphere.

    A product of lower triangles is one: there is no need to build the scatter and factor it again.

    Args:
        factor: factor of the earlier estimate, `(R, k, k)`.
        white: centred points in the coordinates where that is the identity, `(R, n, k)`.
    """
    scatter = ledoit_wolf(white.clamp(-_FARTHEST, _FARTHEST))
    flat = scale_of(scatter) < 1e-9
    if bool(flat.any()):  # points that are all equal have no scatter: the earlier estimate stays
        scatter[flat] = torch.eye(scatter.shape[-1], dtype=scatter.dtype, device=scatter.device)
    return factor @ cholesky(scatter)


def refined(factor: Tensor, centred: Tensor) -> Tensor:
    """A scatter shrunk toward the estimate before it: a sphere lifts the small directions of a gradient.

    The spread of a gradient's directions covers orders of magnitude. Cholesky factors `(R, k, k)`, of the estimate that
    is shrunk toward a sphere and of the refined one; the centred points are `(R, n, k)`. In float32: where the first
    estimate is the identity, the scatter is well conditioned.
    """
    size, unit = _unit(factor)
    points = _single(centred, torch.zeros_like(size)[:, None], size)
    for _ in range(REFINEMENTS):
        unit = sharpened(unit, whitened(unit, points))
    return unit.to(factor) * size[:, None, None]


def fit_gaussian(tokens: Tensor, others: int, noise: float, refine: bool = False) -> NuisanceDensity:
    """Gaussian model of the sum of `others` independent tokens plus noise.

    Args:
        tokens: records the adversary owns, `(R, n, k)`.
        others: how many records of the batch are not the candidate (m - 1).
        noise: standard deviation per coordinate of the noise on the sum.
        refine: shrink as `refined` does.
    """
    mean = tokens.mean(1)
    centred = tokens - mean[:, None]
    factor = cholesky(ledoit_wolf(centred))
    if refine:
        factor = refined(factor, centred)
    mean = _stein(mean, factor, tokens.shape[1])
    return NuisanceDensity(mean * others, _summed(factor, others, noise), RADIAL_DEGREES if refine else PLAIN_DEGREES)


def _summed(factor: Tensor, others: int, noise: float) -> Tensor:
    """Cholesky factor of the scatter of a sum of `others` tokens and noise, from that of one token."""
    if noise == 0.0:
        return math.sqrt(others) * factor
    scatter = factor @ factor.mT * others
    scatter.diagonal(dim1=-2, dim2=-1).add_(noise * noise)
    return cholesky(scatter)


def _stein(mean: Tensor, factor: Tensor, n: int) -> Tensor:
    """Positive-part James-Stein estimate of a location from n points: an error of the mean is made m-1 times over."""
    k = mean.shape[-1]
    size = whitened(factor, mean[:, None]).square().sum((-1, -2))
    kept = 1.0 - (k - 2) / (n * size).clamp_min(_TINY)
    return mean * kept.clamp_min(0.0)[:, None]


def fit_noise(tokens: Tensor, noise: float) -> NuisanceDensity:
    """The exact model of a batch of one record: only the noise hides it."""
    rows, _, k = tokens.shape
    eye = torch.eye(k, dtype=tokens.dtype, device=tokens.device)
    return NuisanceDensity(tokens.new_zeros(rows, k), (noise * eye).expand(rows, k, k), (GAUSSIAN,))


def fit_student(sums: Tensor, upto: float = math.inf) -> list[NuisanceDensity]:
    """Student-t models for those of `STUDENT_DEGREES` up to `upto`, by M-estimation on re-aggregated sums.

    Args:
        sums: sums of m-1 tokens (plus noise) drawn from the adversary's records, `(R, n, k)`.
        upto: most degrees of freedom that are needed; each model starts from the one before.
    """
    fits: list[NuisanceDensity] = []
    for nu in STUDENT_DEGREES:
        if nu <= upto:
            fits.append(next_student(sums, fits[-1] if fits else None, nu))
    return fits


def next_student(sums: Tensor, before: NuisanceDensity | None, nu: float) -> NuisanceDensity:
    """The Student-t model of one of `STUDENT_DEGREES`, from the one before.

    The first starts from the coordinate-wise median and a sphere of median size, so that a few records a thousand times
    larger than the rest do not set the scale.
    """
    steps = _STEPS[STUDENT_DEGREES.index(nu)]
    if before is None:
        before, steps = _reweighted(sums, _median_sphere(sums), nu), steps - 1
    # Where the estimate before is the identity, float32 is enough.
    size, unit = _unit(before.factor)
    points = _single(sums, before.mean, size)
    current = NuisanceDensity(torch.zeros_like(points[:, 0]), unit, ())
    for _ in range(steps):
        current = _reweighted(points, current, nu)
    mean = before.mean + current.mean.to(sums) * size[:, None]
    return NuisanceDensity(mean, current.factor.to(sums) * size[:, None, None], (nu,))


def _median_sphere(sums: Tensor) -> NuisanceDensity:
    k = sums.shape[-1]
    median = sums.median(1).values
    size = ((sums - median[:, None]).square().sum(-1).median(1).values / k).clamp_min(1e-200).sqrt()
    eye = torch.eye(k, dtype=sums.dtype, device=sums.device)
    return NuisanceDensity(median, size[:, None, None] * eye, ())


def _reweighted(sums: Tensor, current: NuisanceDensity, nu: float) -> NuisanceDensity:
    """One fixed-point step of the M-estimate (Kent & Tyler 1991, eq. 1.2), shrunk toward the scatter before it."""
    k = sums.shape[-1]
    white = current.whiten(sums - current.mean[:, None])
    weights = (nu + k) / (nu + torch.linalg.vector_norm(white, dim=-1).square())
    shift = (weights[:, None] @ white) / weights.sum(1)[:, None, None]
    scaled = (white - shift).mul_(weights.sqrt()[..., None])
    mean = current.mean + (current.factor @ shift.mT).squeeze(-1)
    return NuisanceDensity(mean, sharpened(current.factor, scaled), (nu,))
