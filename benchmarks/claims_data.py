"""Fashion-MNIST with a label and an attribute that is not the label: where it is worn, and whether in winter."""

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
