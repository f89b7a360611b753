"""Records with like trajectories: k-means on the 2E numbers of each."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.cluster.vq import kmeans2

Array = NDArray[np.float64]

_STARTS = 10


@dataclass(frozen=True)
class Clusters:
    """Groups of n records, in the order of the advantage TPR - FPR that they end with, lowest first.

    Attributes:
        centres: (k, E, 2), mean FPR and TPR of each.
        label: (n,), from 0.
        explained: share of the variance of all points that lies between the groups.
    """

    centres: Array
    label: NDArray[np.int64]
    explained: float

    @property
    def sizes(self) -> NDArray[np.int64]:
        """Records in each, (k,)."""
        return np.bincount(self.label, minlength=len(self.centres))


def clusters(points: Array, count: int, *, seed: int) -> Clusters:
    """Groups of records by their places at all epochs, the best of ten starts of k-means.

    A description: few models blur trajectories, and k-means finds groups whether there are any or not.

    Args:
        points: (E, n, 2), FPR and TPR.
        count: number of groups, at least 1 and at most the number of different trajectories.
        seed: of the starts.

    Raises:
        ValueError: for a number of groups that cannot be.
    """
    flat = np.moveaxis(points, 1, 0).reshape(points.shape[1], -1)
    different = np.unique(flat, axis=0)
    if not 1 <= count <= len(different):
        raise ValueError(f"{count} groups of {len(different)} different trajectories")
    generator = np.random.default_rng(seed)
    starts = (generator.choice(different, count, replace=False) for _ in range(_STARTS))
    within, label = min((_groups(flat, start) for start in starts), key=lambda found: found[0])
    found = np.unique(label)
    centres = np.stack([flat[label == group].mean(0) for group in found]).reshape(len(found), -1, 2)
    order = np.argsort(centres[:, -1, 1] - centres[:, -1, 0])
    total = float(np.square(flat - flat.mean(0)).sum())
    rank = np.argsort(order)[np.searchsorted(found, label)]
    return Clusters(centres[order], rank, 1.0 - within / total if total > 0.0 else 0.0)


def _groups(flat: Array, start: Array) -> tuple[float, NDArray[np.int64]]:
    """Squared distances within, and the group of each."""
    centres, label = kmeans2(flat, start, minit="matrix")
    return float(np.square(flat - centres[label]).sum()), label.astype(np.int64)
