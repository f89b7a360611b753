"""Data of the claims: Fashion-MNIST by where it is worn, with an attribute beside the label; CIFAR at half its size."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

WORN = {"top": (0, 2, 4, 6), "bottom": (1, 3), "shoe": (5, 7, 9), "bag": (8,)}
"""Label: groups of the classes of Fashion-MNIST."""

WINTER = (2, 4, 9)
"""Pullover, coat, ankle boot: the attribute, which goes across the groups."""


def fashion(root: str) -> tuple[NDArray[Any], NDArray[Any], dict[str, NDArray[Any]]]:
    """Pictures, groups 0..3, and the column `season`: `winter` or `other`."""
    sys.path.insert(0, str(Path(__file__).parents[1]))
    from sample_models.fashion_mnist import records

    pictures, classes = records(root)
    group = np.zeros(10, dtype=np.int64)
    for index, members in enumerate(WORN.values()):
        group[list(members)] = index
    season = np.where(np.isin(classes, WINTER), "winter", "other")
    return pictures, group[classes], {"season": season}


def small_cifar(path: str) -> tuple[NDArray[Any], NDArray[Any]]:
    """Pictures (n, 16, 16, 3) uint8, each the mean of four pixels, and classes."""
    with np.load(path) as found:
        pictures, classes = found["images"], found["labels"]
    n, side = len(pictures), pictures.shape[1] // 2
    small = pictures.reshape(n, side, 2, side, 2, 3).mean((2, 4)).round().astype(np.uint8)
    return small, classes.astype(np.int64)
