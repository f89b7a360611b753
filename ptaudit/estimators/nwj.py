"""NWJ: the bound of Nguyen, Wainwright and Jordan on f-divergences, for the Kullback-Leibler divergence.

Bounds I(X; Y) from below, in expectation, for any critic (IEEE Trans. Information Theory 56, 2010; Poole et al.,
arXiv 1905.06922): E f + 1 - E' exp(f), E over matched and E' over mismatched held-out pairs; f is best as the log
density ratio itself. A critic is shifted on part `STOP` to the level where that is largest, and cut at log R (R
held-out records): both are functions fixed before the report, so the bound holds.

Ceiling: log2 R, and for classes at most their entropy; the sum itself may end up to 1.44 bits above where all is cut,
and is then shown as the ceiling. What lies above would rest on density ratios that R records cannot confirm (McAllester
and Stratos, AISTATS 2020).

Where it fails: near its ceiling f is cut and the value is low. With the optimal critic, 1,000 records and truths of
3.6, 6.1, 8.5 and 11.1 bits it gives 3.6, 6.1, 8.3 and 10.2 on average (InfoNCE 3.6, 5.9, 7.9 and 9.3). Trained, it is
some per cent below InfoNCE on heavy tails, because its gradient rests on the few pairs where exp(f) is large.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from torch import Tensor

from ptaudit.estimators.bounds import Rivals, as_x, as_y, diagonal, mismatched_mean, rival_ratios
from ptaudit.estimators.variational import estimator


@dataclass(frozen=True)
class NWJ:
    """The choice is the shift of the critic."""

    def loss(self, scores: Tensor, rivals: Rivals, memory: Tensor) -> tuple[Tensor, Tensor]:
        """The bound with its sign turned."""
        return mismatched_mean(scores, rivals) - diagonal(scores).mean(-1), memory

    def choices(self, scores: Tensor, rivals: Rivals) -> Tensor:
        """The best shift: log of the mean density ratio."""
        top, ratio = rival_ratios(scores, rivals)
        return (top + rivals.mean(as_x(ratio, rivals)).log())[:, None]

    def means(self, scores: Tensor, rivals: Rivals, choices: Tensor) -> Tensor:
        """See `Bound`."""
        cut = _cut(scores, rivals, choices[:, 0])
        return rivals.mean(diagonal(cut) + 1.0 - as_x(cut.exp(), rivals))[:, None]

    def values(self, scores: Tensor, rivals: Rivals, choice: Tensor) -> Tensor:
        """See `Bound`."""
        cut = _cut(scores, rivals, choice)
        ratio = cut.exp()
        one, other = as_x(ratio, rivals), as_y(ratio, rivals)
        return diagonal(cut) + 1.0 - (one + other - rivals.side_mean(one))


def _cut(scores: Tensor, rivals: Rivals, shift: Tensor) -> Tensor:
    return (scores - shift[:, None, None]).clamp_max(math.log(rivals.records))


measure = estimator(NWJ())
"""Mutual information in bits, bounded from below; see `variational.Variational`."""
