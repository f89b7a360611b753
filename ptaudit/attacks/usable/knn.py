"""The k nearest neighbours: class frequencies among them, or their mean. The path is k, from many to few.

Assumes nothing of the shape of the dependence, but in many coordinates all distances are alike and it sees little.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ptaudit.attacks.usable.family import Family, compressed

NEIGHBOURS = (64, 32, 16, 8, 4, 2)

_CELLS = 1 << 25


def frequency_path(known: Tensor, secrets: Tensor, unseen: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """Log-probabilities `(V, H, P, m, C)`, with one pseudo-count spread as the classes are; see `family.Path`."""
    classes = secrets.shape[-1]
    prior = (secrets.sum(1) + 1.0) / (secrets.shape[1] + classes)
    found = [(sums + prior[:, None, None]) / (k + 1.0) for k, sums in _sums(known, secrets, unseen)]
    return torch.stack(found, 1).log()


def mean_path(known: Tensor, secrets: Tensor, unseen: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """Means `(V, H, P, m, s)`; see `family.Path`."""
    return torch.stack([sums / k for k, sums in _sums(known, secrets, unseen)], 1)


def _sums(known: Tensor, secrets: Tensor, unseen: Tensor) -> list[tuple[int, Tensor]]:
    """For every k the sums of the secrets of the k nearest known rows, `(V, P, m, K)`; no more rows than there are."""
    nearest = torch.stack([_nearest(*tokens) for tokens in zip(known, unseen)])
    total, before, found = secrets.new_zeros(()), 0, []
    for wanted in sorted(NEIGHBOURS):
        k = min(wanted, nearest.shape[-1])
        for column in range(before, k):
            total = total + secrets[:, nearest[..., column]]
        before = k
        found.append((k, total))
    return found[::-1]


def _nearest(known: Tensor, unseen: Tensor) -> Tensor:
    """Indices of the nearest known rows, nearest first: `(n, d)`, `(m, d)` -> `(m, most)`."""
    most = min(max(NEIGHBOURS), len(known))
    size = known.square().sum(-1)
    rows = max(1, _CELLS // len(known))
    # The length of the unseen token itself changes no order.
    parts = [
        torch.addmm(size, part, known.T, alpha=-2.0).topk(most, largest=False) for part in torch.split(unseen, rows)
    ]
    return torch.cat([part.indices for part in parts])


FAMILY = Family((compressed,), frequency_path, mean_path, len(NEIGHBOURS))
