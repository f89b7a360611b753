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

CLASSES = (-1.0, 0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0)
"""Bounds between classes of visibility, decimal logarithms."""

CAUTION = 1.0
"""Members that a class is taken to have seen spread as its non-members are, before any is counted."""


@dataclass(frozen=True)
class Densities:
    """Log-likelihood ratios by cell, `(classes * bins,)` float32."""

    table: Tensor

    def scores(self, statistic: Tensor, visibility: Tensor) -> Tensor:
        """Log-likelihood ratios, float32, of statistics and visibilities of one shape."""
        return self.table[cells(statistic, visibility)]


def cells(statistic: Tensor, visibility: Tensor) -> Tensor:
    """The cell of each; one that is not finite counts as the largest."""
    high = torch.nan_to_num(statistic.float(), nan=HIGHEST, posinf=HIGHEST, neginf=LOWEST)
    place = ((high - LOWEST) * (BINS / (HIGHEST - LOWEST))).clamp_(0, BINS - 1).long()
    bounds = torch.tensor(CLASSES, device=statistic.device)
    return torch.bucketize(visibility.float().contiguous(), bounds) * BINS + place


def fit_densities(statistic: Tensor, visibility: Tensor, secret: Tensor) -> Densities:
    """Count members and non-members in the cells.

    Args:
        statistic: decimal logarithms, `(G, K)`.
        visibility: decimal logarithms, `(G, K)`.
        secret: which candidate was in the batch, `(G,)`.
    """
    size = (len(CLASSES) + 1) * BINS
    place = cells(statistic, visibility)
    own = place.gather(1, secret[:, None]).squeeze(1)
    inside = torch.bincount(own, minlength=size).double()
    outside = torch.bincount(place.flatten(), minlength=size).double() - inside
    inside, outside = inside.view(-1, BINS), outside.view(-1, BINS) + 1.0 / BINS
    outside = outside / outside.sum(1, keepdim=True)
    ratio = (inside + CAUTION * outside) / (inside.sum(1, keepdim=True) + CAUTION) / outside
    return Densities(ratio.log().flatten().float())
