"""Models in pairs, record by record: one that was trained on the record, and one that was not."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Mask = NDArray[np.bool_]


def partners(inside: Mask, outside: Mask) -> NDArray[np.int64]:
    """For each model and record a model of the other side.

    Of the models with a record the first is paired with the first of those without, the second with the second, and so
    on, beginning again where the other side has fewer. Who leaves both out compares a model with the same others
    whichever side it is on.

    Args:
        inside: (N, n), whether a model was trained on a record.
        outside: (N, n), whether it was not; a model in neither is in no pair.

    Returns:
        (N, n) indices of models; -1 where there is no partner.
    """
    found = np.full(inside.shape, -1, dtype=np.int64)
    for own, other in ((inside, outside), (outside, inside)):
        count = other.sum(0)
        others_in_order = np.argsort(~other, axis=0, kind="stable")
        rank = np.maximum(np.cumsum(own, axis=0) - 1, 0)
        partner = np.take_along_axis(others_in_order, rank % np.maximum(count, 1), 0)
        found = np.where(own & (count > 0), partner, found)
    return found
