"""What all noisy sums of a training let anybody know of a record: Fisher information adds up (arXiv 2102.11673)."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise

import numpy as np

from ptaudit.stats.estimate import Estimate, inconclusive
from ptaudit.stats.fisher import composed


def of_training(worst: Mapping[int, Estimate]) -> dict[int, Estimate]:
    """Bound on the Fisher information loss of all sums up to each audited epoch but the first.

    Every record is in one batch of each epoch, and nothing is gained from the secrecy of who was sampled. An audited
    epoch stands for the weights of all sums from there to the next one. Of the records that were looked at none has a
    larger loss than the root of the summed squares of the worst of each epoch; one of them has at least that of the
    worst of a single audited epoch, in all sums that this one stands for.

    Args:
        worst: audited epoch to the largest loss of the records that were looked at; 0 is before training.
    """
    told = {}
    stretches: list[tuple[int, Estimate]] = []
    for (epoch, start), (end, last) in pairwise(sorted(worst.items())):
        stretches.append((end - epoch, start))
        lost = next((one for _, one in stretches if not one.conclusive), None)
        if min(worst) > 0:
            told[end] = inconclusive("needs epoch 0 among audit.epochs: sums before the first one are not known")
        elif lost is not None:
            told[end] = lost
        else:
            told[end] = _of_stretches(stretches, last.n)
    return told


def _of_stretches(stretches: list[tuple[int, Estimate]], n: int) -> Estimate:
    sums = np.sqrt([count for count, _ in stretches])
    value, hi = (float(composed(sums * [getattr(one, end) for _, one in stretches])) for end in ("value", "hi"))
    lo = float(np.max(sums * [one.lo for _, one in stretches]))
    return Estimate(value, lo, hi, 0.0, np.nan, n)
