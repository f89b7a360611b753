"""Records of a batch taken apart, from the gradient of a linear layer with a bias that is given a vector of each.

Row i of the gradient is the sum over records of (slope of unit i) times (vector), the bias has the sum of the slopes.
Behind ReLU a unit may be active for one record alone, and its row over its bias is that record's vector (Fowl et al.,
arXiv 2110.13057; Boenisch et al., arXiv 2112.02918, section 4). Which rows are of one record is found out and proved:
rows that agree are candidates, and of a candidate the slopes are computed again, with every label it may have; those of
its own rows must be the bias entries. A record that is proved is taken off the sum, which leaves more rows to single
records.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from ptaudit.attacks.inversion.messages import Granted, SharedGradients

_SILENT = 1e-5
"""Bias entries below this share of the largest are those of units that no record is left to."""

_ALIKE = 1e-3
"""Distance of candidates that are one record, relative to their size."""

_PROVED = 1e-3
"""Relative gap between the slopes of a candidate and the bias entries that proves it, where several rows agree."""

_PROVED_ALONE = 1e-4
"""The same where it is one row's word."""

_MOST_ROWS = 1024
"""Rows that are looked at, those of the largest bias entries."""

_AT_ONCE = 64
"""Candidates that are computed again together, the ones that most rows agree on first."""

Pool = list[Tensor] | None
"""Labels that the records of a batch are known to have; None where they have to be found."""


@dataclass(frozen=True)
class Sums:
    """What is left of the gradient of the layer: of its weight `(H, D)` and of its bias `(H,)`, float64."""

    weight: Tensor
    bias: Tensor

    def without(self, vector: Tensor, slopes: Tensor) -> Sums:
        """Less what one vector `(D,)` of these slopes `(H,)` adds."""
        return Sums(self.weight - slopes[:, None] * vector, self.bias - slopes)

    def vector(self, rows: Tensor) -> Tensor:
        """What some rows `(k,)` say of their vector, by least squares, `(D,)`; of entries that are 0 nothing is known.

        Only where the record is 0 itself, or where somebody pruned.
        """
        weight, bias = self.weight[rows], self.bias[rows, None]
        known = (weight != 0.0).to(weight)
        return (bias * weight).sum(0) / (bias.square() * known).sum(0).clamp_min(torch.finfo(weight.dtype).tiny)


@dataclass(frozen=True)
class LinearLayer:
    """A linear layer with a bias as a function of the vectors that it is given.

    Attributes:
        path: of the module.
        granted: what is known.
        slopes: of the loss by what the layer gives, `(n, H)` float64, from vectors `(n, D)` and labels `(n, ...)`.
        within: which vectors `(n, D)` can be, `(n,)`.
    """

    path: str
    granted: Granted
    slopes: Callable[[Tensor, Tensor], Tensor]
    within: Callable[[Tensor], Tensor]

    @property
    def names(self) -> tuple[str, str]:
        """Paths of its weight and bias."""
        weight, bias = (f"{self.path}.{name}".lstrip(".") for name in ("weight", "bias"))
        return weight, bias

    def why_not(self, seen: SharedGradients) -> str:
        """Why the vectors of a batch cannot be read."""
        granted = self.granted
        if not all(name in seen.gradients for name in self.names):
            return f"weight and bias of the layer that is read ({self.path or 'the model'}) are not both shared"
        if seen.batch_size == 1:
            return ""
        if seen.update is not None and seen.update.local_steps > 1:
            return "of several records it rebuilds from gradients, not from updates of several steps"
        if seen.rounds > 1 and not seen.fixed_batch:
            return "of several records it rebuilds where all rounds show the same ones"
        if granted.clip is not None or seen.noise_std != 0.0 or granted.defense.acts_on == "pass":
            return "several records are taken apart by proofs, which clipping, noise or chance in the pass upset"
        if granted.labels is None and granted.space.classes is None:
            return "the targets are numbers, which have to be known"
        return ""

    def sums(self, seen: SharedGradients, target: int) -> Sums:
        """What is seen of one target, the mean over rounds."""
        return Sums(*(seen.gradients[name][target].double().mean(0) for name in self.names))

    def alone(self, sums: Sums, pool: Pool) -> tuple[Tensor, Tensor] | None:
        """The vector `(D,)` and the label of a batch of one; None where no unit has a slope."""
        active = torch.nonzero(sums.bias != 0.0).flatten()
        if not len(active):
            return None
        vector, labels = sums.vector(active), self.every_label(pool)
        if self.granted.space.classes is None:
            return vector, labels[0]
        slopes = self.slopes(vector.expand(len(labels), -1), labels)
        return vector, labels[torch.cosine_similarity(slopes, sums.bias[None], dim=1).argmax()]

    def every_label(self, pool: Pool) -> Tensor:
        """Labels that a record may have, `(L, ...)`."""
        if pool is not None:
            return torch.stack(pool)
        return torch.arange(self.granted.space.classes or 1, device=self.granted.device)

    def pool(self, target: int) -> Pool:
        """The labels of the records of a target, where they are known."""
        return None if self.granted.labels is None else list(self.granted.labels[target])


def several(sums: Sums, layer: LinearLayer, pool: Pool, m: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Vectors `(D,)` that are proved, each with its label, one after the other, at most m."""
    least = _SILENT * float(sums.bias.abs().max())
    for _ in range(m):
        active = sums.bias.abs().argsort(descending=True)[:_MOST_ROWS]
        active = active[sums.bias[active].abs() > least]
        found = _proved(sums, active, layer, pool, m) if len(active) else None
        if found is None:
            return
        vector, label, slopes = found
        if pool is not None:
            pool = _without(pool, label)
        sums = sums.without(vector, slopes)
        yield vector, label


def _proved(sums: Sums, active: Tensor, layer: LinearLayer, pool: Pool, m: int) -> tuple[Tensor, Tensor, Tensor] | None:
    """A vector, its label and what it adds to the bias `(H,)`: of candidates that are proved the clearest one."""
    groups = _alike(sums.weight[active] / sums.bias[active, None])
    groups = sorted(groups, key=len, reverse=True)
    candidates = torch.stack([sums.vector(active[group]) for group in groups])
    kept = torch.nonzero(layer.within(candidates)).flatten()[:_AT_ONCE]
    labels = layer.every_label(pool)
    if not len(kept) or not len(labels):
        return None
    each = candidates[kept].repeat_interleave(len(labels), 0)
    slopes = layer.slopes(each, labels.repeat(len(kept), *[1] * (labels.dim() - 1))) / m
    slopes = slopes.view(len(kept), len(labels), -1)
    best: tuple[float, Tensor, Tensor, Tensor] | None = None
    for candidate, own in zip(kept.tolist(), slopes):
        rows = active[groups[candidate]]
        size = float(sums.bias[rows].norm())
        gaps = (own[:, rows] - sums.bias[rows]).norm(dim=1) / size
        label = int(gaps.argmin())
        proved = float(gaps[label]) < (_PROVED if len(rows) > 1 else _PROVED_ALONE)
        # The longest rows have least of the rounding.
        if proved and (best is None or size > best[0]):
            best = size, candidates[candidate], labels[label], own[label]
    return None if best is None else best[1:]


def _alike(rows: Tensor) -> list[Tensor]:
    """Places of rows `(k, D)` that are the same but for rounding: groups, of which every row is in one."""
    near = torch.cdist(rows, rows) <= _ALIKE * rows.norm(dim=1).clamp_min(1e-12)
    left, groups = torch.ones(len(rows), dtype=torch.bool, device=rows.device), []
    for place in near.sum(1).argsort(descending=True).tolist():
        if left[place]:
            group = torch.nonzero(near[place] & left).flatten()
            left[group] = False
            groups.append(group)
    return groups


def _without(pool: list[Tensor], label: Tensor) -> list[Tensor]:
    """The labels less one that is equal."""
    place = next(i for i, one in enumerate(pool) if torch.equal(one, label))
    return pool[:place] + pool[place + 1 :]
