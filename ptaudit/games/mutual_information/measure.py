"""Mutual information between a record and the gradient of a batch that it is in (arXiv 2502.02913).

The record is given by features of its data, the observation by what a view shows. Continuous features of a continuous
record have infinite information with a noiseless gradient: every estimate is then about what so many records can tell.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from ptaudit.estimators.base import Measured, Pairs
from ptaudit.estimators.registry import ESTIMATORS
from ptaudit.games.common.pairs import draw, split
from ptaudit.games.identity.measure import noise_ceiling, why_not
from ptaudit.stats.estimate import Estimate, inconclusive
from ptaudit.views.sight import Sight
from ptaudit.views.view import View

SHARES = (0.5, 0.15, 0.35)
"""Of the records: a critic is fitted on, stopped by, and read on."""

PER_TARGET = (4, 2, 1)
"""Batches for each record of a part that holds others; without others every batch of a record is the same."""

METRICS = ("bits", "matched_minus_mismatched_bits")


def measure(
    tokens: Tensor,
    features: Tensor,
    records: Tensor,
    view: View,
    encode: Callable[[Tensor], Tensor],
    most: Sequence[float],
    options: Mapping[str, Mapping[str, int | str]],
    seed: int = 0,
    sight: Sight | None = None,
) -> dict[str, dict[str, list[Estimate]]]:
    """Ask every estimator about every row.

    Args:
        tokens: tokens of N records, `(R, N, k)`; clipped already where the view clips.
        features: of the same records, `(N, d)`, or classes `(N,)`.
        records: those of the N that may be used.
        view: batch size, rounds and noise.
        encode: from what is seen of G batches, `(R, G, k)`, to the observations of the reported rows, `(rows, G, w)`.
        most: bits that the noise of the view allows in each reported row; infinite where there is none.
        options: estimator to its options.
        seed: seed of parts, draws, noise and estimators.
        sight: what shows the batches of the N records; left out, sums of the tokens and the noise of the view.

    Returns:
        For each estimator and metric one estimate for each row. Bits are clipped to [0, ceiling].
    """
    if reason := why_not(tokens[:, records], view, 2):
        lost = dict.fromkeys(METRICS, [inconclusive(reason, n=len(records))] * len(most))
        return dict.fromkeys(options, lost)
    generator = torch.Generator().manual_seed(seed)
    quiet = view.others == 0 and view.noise_std == 0.0 and sight is None
    times = (1, 1, 1) if quiet else PER_TARGET
    drawn = draw(tokens, split(records, SHARES, generator), times, view, generator, sight)
    seen = encode(drawn.views)
    about = features[drawn.record][None]
    pairs = Pairs(seen.float(), about, drawn.record, drawn.part, drawn.side)
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
