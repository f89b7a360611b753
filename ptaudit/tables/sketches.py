"""What was found in sketches alone, where an adversary with whole gradients finds more."""

from __future__ import annotations

from dataclasses import replace

from ptaudit.stats.estimate import NEARLY_ALL, Estimate
from ptaudit.tables.status import worst_status

SKETCH_LIMITED = "sketch-limited"


def limited_by_sketch(estimate: Estimate) -> Estimate:
    """An estimate of the identity game without noise, as `sketch-limited` where it is far from its ceiling.

    A sketch of a few hundred numbers loses the algebra of a gradient: its row space, its zero rows and columns. From
    these an adversary with whole gradients names nearly every record of a small batch, whatever is found in sketches;
    without noise nothing keeps it from that. A status that asks for more caution stays.
    """
    # Of an estimate that is inconclusive the comparison is false: its value is NaN.
    if not estimate.value < NEARLY_ALL * estimate.ceiling:
        return estimate
    return replace(estimate, status=worst_status([estimate.status, SKETCH_LIMITED]))
