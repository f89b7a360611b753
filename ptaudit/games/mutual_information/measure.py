"""Mutual information between a record and the gradient of a batch that it is in (arXiv 2502.02913).

The record is given by features of its data, the observation by what a view shows. Continuous features of a continuous
record have infinite information with a noiseless gradient: every estimate is then about what so many records can tell.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from ptaudit.attacks.pairs import Encoded
from ptaudit.estimators.base import Measured, Pairs
from ptaudit.estimators.registry import ESTIMATORS
from ptaudit.games.identity.measure import noise_ceiling
from ptaudit.stats.estimate import Estimate, inconclusive
from ptaudit.views.view import View

SHARES = (0.5, 0.15, 0.35)
"""Of the records: a critic is fitted on, stopped by, and read on."""

PER_TARGET = (4, 2, 1)
"""Batches for each record of a part that holds others; without others every batch of a record is the same."""

Options = Mapping[str, int | str]

METRICS = ("bits", "matched_minus_mismatched_bits")


def measure(
    encoded: Encoded, features: Tensor, most: Sequence[float], options: Mapping[str, Options], seed: int = 0
) -> dict[str, dict[str, list[Estimate]]]:
    """Ask every estimator about every row.

    Args:
        encoded: the view, and what is made of what it shows; a row for each of `most`.
        features: of the N records, `(N, d)`, or classes `(N,)`.
        most: bits that the noise of the view allows in each reported row; infinite where there is none.
        options: estimator to its options.
        seed: seed of parts, draws, noise and estimators.

    Returns:
        For each estimator and metric one estimate for each row. Bits are clipped to [0, ceiling].
    """
    if reason := encoded.why_not():
        lost = dict.fromkeys(METRICS, [inconclusive(reason, n=len(encoded.records))] * len(most))
        return dict.fromkeys(options, lost)
    drawn = encoded.draw(SHARES, PER_TARGET, torch.Generator().manual_seed(seed))
    pairs = Pairs(drawn.views, features[drawn.record][None], drawn.record, drawn.part, drawn.side)
    return {name: _table(ESTIMATORS[name](pairs, seed, **chosen), most) for name, chosen in options.items()}


def upper(view: View, parameters: Sequence[int]) -> list[Estimate]:
    """What the noise of a view allows at most: the capacity of a Gaussian channel, in bits, for each row.

    Holds for any record and any adversary; needs no data, so the interval is the number itself.
    """
    bounds = [noise_ceiling(view, d) for d in parameters]
    return [Estimate(bound, bound, bound, 0.0, math.nan, 0) for bound in bounds]


def _table(found: Sequence[Measured], most: Sequence[float]) -> dict[str, list[Estimate]]:
    return {
        "bits": [_closed(one.bits, top) for one, top in zip(found, most, strict=True)],
        "matched_minus_mismatched_bits": [one.matched_minus_mismatched for one in found],
    }


def _closed(estimate: Estimate, most: float) -> Estimate:
    """Clipped to what the estimator and the noise allow."""
    top = most if math.isnan(estimate.ceiling) else min(most, estimate.ceiling)
    found = replace(estimate, ceiling=top if math.isfinite(top) else math.nan)
    return found.clipped(0.0, top) if found.conclusive else found
