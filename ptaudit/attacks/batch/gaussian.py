"""Likelihood ratio of observed batches: Gaussian classes around their means, with a common scatter or one for each.

Everything is done along the principal axes of all observations. Shrinking their scatter to a sphere (Ledoit and Wolf,
2004), or once more toward that estimate (see `nuisance_density.refined`), changes only the variances there; and the
scatter within the classes differs from it by the class means alone, a few directions. So one rotation serves all
shrinkages and all versions of the secrets.

Gradients have heavy tails: means and scatter with the weights of a Student-t (one step of the M-estimate of Kent and
Tyler, 1991) and radial tails are in the family. So are sub-tokens, and on these a scatter for each class.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from ptaudit.attacks.densities import SUB_TOKENS, sub_tokens
from ptaudit.attacks.model_selection import coordinates_of
from ptaudit.attacks.nuisance_density import RADIAL_DEGREES, cholesky, ledoit_wolf, log_density, shrinkage, whitened
from ptaudit.attacks.usable.family import plain

_LEAST_WITHIN = 1e-4
"""Least share of the scatter in a direction that is left within the classes."""

_LEAST_VARIANCE = 1e-9
"""Least variance along an axis, in units of the mean one."""

_ROBUST = 3.0
"""Degrees of freedom of the Student-t whose weights make means and scatter robust."""

_FAR = 1e6
"""Farthest coordinate in typical lengths, before the observation is shortened."""

_ENOUGH = 512
"""Observations whose median is the middle that giants are far from."""


@dataclass(frozen=True)
class Axes:
    """Observations along the principal axes of the known ones, which are centred.

    Attributes:
        known: `(R, n, d)`.
        unseen: `(R, u, d)`.
        variances: along the axes, `(R, d)`.
    """

    known: Tensor
    unseen: Tensor
    variances: Tensor

    @functools.cached_property
    def squares(self) -> Tensor:
        """Of the unseen ones."""
        return self.unseen.square()


def likelihoods(known: Tensor, secrets: Tensor, values: int, unseen: Tensor, seed: int = 0) -> Tensor:
    """Log-likelihoods of every value, see `observations.PosteriorFamily`; nothing is random."""
    known, unseen = _centred(known, unseen)
    hidden = one_hot(secrets, values).to(known)
    found = []
    for coordinates in sub_tokens(known.shape[-1]):
        axes = principal_axes(*(coordinates_of(some, coordinates) for some in (known, unseen)))
        equal = torch.ones_like(axes.known[..., 0])
        more, shrunk = _pooled(axes, equal, hidden)
        found += more
        length = (axes.known.square() @ (1.0 / shrunk)[..., None]).squeeze(-1)
        weight = (_ROBUST + len(coordinates)) / (_ROBUST + length)
        root = (weight / weight.mean(1, keepdim=True)).sqrt()
        found += _pooled(principal_axes(axes.known * root[..., None], axes.unseen), root, hidden)[0]
        if len(coordinates) <= max(SUB_TOKENS):
            one, two = (some / shrunk.sqrt()[:, None] for some in (axes.known, axes.unseen))
            found.append(torch.stack([_each(one, two, labels, values) for labels in secrets]))
    return torch.cat(found, 1)


def _pooled(axes: Axes, root: Tensor, hidden: Tensor) -> tuple[list[Tensor], Tensor]:
    """Log-densities with one scatter, shrunk to a sphere and refined; and the variances of the last."""
    shrunk, kept = torch.ones_like(axes.variances), axes.variances.new_zeros(len(axes.variances))
    found = []
    for _ in range(2):
        shrunk, kept = _shrunk(axes, shrunk, kept)
        found.append(_common(axes, shrunk, kept, root, hidden))
    return found, shrunk


def principal_axes(known: Tensor, unseen: Tensor) -> Axes:
    """Rotate centred observations `(R, n, d)`, and others `(R, u, d)`."""
    variances, axes = torch.linalg.eigh(known.mT @ known / known.shape[1])
    return Axes(known @ axes, unseen @ axes, variances.clamp_min(0.0))


def _centred(known: Tensor, unseen: Tensor) -> tuple[Tensor, Tensor]:
    """Observations about the mean of the known ones, in typical lengths; giants would set the scatter and are cut."""
    middle = known[:, :_ENOUGH].median(1, keepdim=True).values
    typical = torch.linalg.vector_norm(known - middle, dim=-1).median(1).values[:, None, None].clamp_min(1e-200)
    one = torch.ones_like(typical)
    mapped = [plain(((some - middle) / typical).clamp_(-_FAR, _FAR), one) for some in (known, unseen)]
    mean = mapped[0].mean(1, keepdim=True)
    return mapped[0].sub_(mean), mapped[1].sub_(mean)


def _shrunk(axes: Axes, before: Tensor, kept: Tensor) -> tuple[Tensor, Tensor]:
    """Variances shrunk toward a multiple of those before, `(R, d)`, and the sample's own share in them, `(R,)`."""
    share = axes.variances / before
    intensity = shrinkage(axes.known / before.sqrt()[:, None], torch.diag_embed(share))
    scale = share.mean(-1)
    shrunk = before * ((1.0 - intensity)[:, None] * share + (intensity * scale)[:, None])
    least = (_LEAST_VARIANCE * shrunk.mean(-1, keepdim=True)).clamp_min(1e-200)
    return torch.maximum(shrunk, least), 1.0 - intensity + intensity * scale * kept


def _common(axes: Axes, variances: Tensor, kept: Tensor, root: Tensor, hidden: Tensor) -> Tensor:
    """Log-densities `(V, tails, R, u, K)` with one scatter within all classes.

    In units of the variances that scatter is W = I - U^T D U for the class means U with weights D, and by Woodbury
    W^-1 = I + U^T M U, with M of the size of the classes. A class has one observation more at the mean of all.

    Args:
        axes: the known observations times the root of their weight.
        variances: along the axes, `(R, d)`.
        kept: the sample's own share in them, `(R,)`.
        root: root of the weight of each known observation, `(R, n)`.
        hidden: secrets as one-hot rows, `(V, n, K)`.
    """
    versions, n, values = hidden.shape
    columns = hidden.transpose(0, 1).flatten(1)
    count = torch.unflatten(root.square() @ columns, 1, (versions, values)).transpose(0, 1)
    total = (axes.known * root[..., None]).mT @ columns
    means = torch.unflatten(total / variances.sqrt()[..., None], 2, (versions, values)).permute(2, 0, 3, 1)
    means = means / (count + 1.0)[..., None]
    scaled = ((count + 2.0) / n * kept[:, None]).sqrt()[..., None] * means
    spread, turn = torch.linalg.eigh(scaled @ scaled.mT)
    left = (1.0 - spread).clamp_min(_LEAST_WITHIN)
    bent = turn.mT @ scaled / left.sqrt()[..., None]
    directions = torch.cat([means, bent], 2) / variances.sqrt()[:, None]
    seen = axes.unseen @ directions.permute(1, 3, 0, 2).flatten(2)
    along, across = torch.unflatten(seen, 2, (versions, 2, values)).permute(3, 2, 0, 1, 4)
    length = (axes.squares @ (1.0 / variances)[..., None]) + means.square().sum(-1)[:, :, None]
    curved = across[..., None, :] - (means @ bent.mT)[:, :, None]
    distances = (length - 2.0 * along).clamp_min_(0.0) + curved.square_().sum(-1)
    return torch.stack([log_density(distances, nu, variances.shape[1]) for nu in RADIAL_DEGREES], 1)


def _each(known: Tensor, unseen: Tensor, labels: Tensor, values: int) -> Tensor:
    """Log-densities `(tails, R, u, K)` with a scatter for each class, shrunk toward the common one.

    Of points in units of the common scatter. A class has one observation more, at the mean and scatter of all.
    """
    distances, volumes = [], []
    for value in range(values):
        mine = known[:, labels == value]
        count = mine.shape[1]
        centre = mine.sum(1, keepdim=True) / (count + 1.0)
        scatter = torch.eye(known.shape[-1], dtype=known.dtype, device=known.device) / (count + 1.0)
        if count:
            scatter = scatter + ledoit_wolf(mine - centre) * (count / (count + 1.0))
        factor = cholesky(scatter.expand(len(known), -1, -1))
        distances.append(whitened(factor, unseen - centre).square().sum(-1))
        volumes.append(factor.diagonal(dim1=-2, dim2=-1).log().sum(-1, keepdim=True))
    distance, volume = torch.stack(distances, -1), torch.stack(volumes, -1)
    return torch.stack([log_density(distance, nu, known.shape[-1]) - volume for nu in RADIAL_DEGREES])
