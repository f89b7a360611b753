"""From a statistic of a candidate to a log-likelihood ratio: member over non-member, by counting in cells.

A statistic such as "how far the candidate's input is from the row space of the gradient" says nothing of a candidate
whose own gradient is lost in rounding or noise. So cells are those of the statistic and of the candidate's visibility,
the size of its gradient over the smallest that could be seen, and ratios are taken within each class of visibility.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

LOWEST, HIGHEST, BINS = -8.0, 4.0, 36
"""Range and number of the cells of a statistic's decimal logarithm."""

VISIBILITY = (-1.0, 0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0)
"""Bounds between classes of visibility, decimal logarithms."""

CAUTION = 1.0
"""Members that a class is taken to have seen spread as its non-members are, before any is counted."""

NEIGHBOUR = 0.2
"""Weight of what is counted in neighbouring classes and cells."""


@dataclass(frozen=True)
class Densities:
    """Log-likelihood ratios by cell.

    Attributes:
        table: `(classes * bins,)` float32.
        bounds: between the classes.
    """

    table: Tensor
    bounds: tuple[float, ...] = VISIBILITY

    def scores(self, statistic: Tensor, level: Tensor) -> Tensor:
        """Log-likelihood ratios, float32, of statistics and levels of one shape."""
        return self.table[cells(statistic, level, self.bounds)]


def cells(statistic: Tensor, level: Tensor, bounds: tuple[float, ...] = VISIBILITY) -> Tensor:
    """The cell of each; one that is not finite counts as the largest."""
    high = torch.nan_to_num(statistic.float(), nan=HIGHEST, posinf=HIGHEST, neginf=LOWEST)
    place = ((high - LOWEST) * (BINS / (HIGHEST - LOWEST))).clamp_(0, BINS - 1).long()
    return torch.bucketize(level.float().contiguous(), torch.tensor(bounds, device=statistic.device)) * BINS + place


def fit_densities(
    statistic: Tensor, level: Tensor, secret: Tensor, bounds: tuple[float, ...] = VISIBILITY, repeats: int = 1
) -> Densities:
    """Count members and non-members in the cells; what is counted beside a cell counts a little too.

    Non-members are counted in candidates, not in games: the same few candidates are in all of them. A class is taken to
    have seen one candidate more, spread as those of all classes.

    Args:
        statistic: decimal logarithms, `(G, K)`.
        level: visibility, or what else classes are made of, `(G, K)`.
        secret: which candidate was in the batch, `(G,)`.
        bounds: between the classes.
        repeats: games in which the same candidates are.
    """
    size = (len(bounds) + 1) * BINS
    place = cells(statistic, level, bounds)
    own = place.gather(1, secret[:, None]).squeeze(1)
    inside = torch.bincount(own, minlength=size).double()
    outside = torch.bincount(place.flatten(), minlength=size).double() - inside
    inside, outside = _smooth(inside.view(-1, BINS)), _smooth(outside.view(-1, BINS)) / repeats
    pooled = outside.sum(0) + 1.0 / BINS
    outside = outside + pooled / pooled.sum()
    outside = outside / outside.sum(1, keepdim=True)
    ratio = (inside + CAUTION * outside) / (inside.sum(1, keepdim=True) + CAUTION) / outside
    return Densities(ratio.log().flatten().float(), bounds)


def _smooth(counts: Tensor) -> Tensor:
    """Counts `(classes, bins)` with a share of those of the neighbouring classes, and of cells but the first and last.

    The ends hold what is exactly 0 or off the scale, which nothing beside them is like.
    """
    wide = counts.clone()
    wide[1:] += NEIGHBOUR * counts[:-1]
    wide[:-1] += NEIGHBOUR * counts[1:]
    found = wide.clone()
    found[:, 2:-1] += NEIGHBOUR * wide[:, 1:-2]
    found[:, 1:-2] += NEIGHBOUR * wide[:, 2:-1]
    return found
