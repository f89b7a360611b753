"""What every estimator of mutual information takes and gives."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Protocol

from torch import Tensor

from ptaudit.stats.estimate import OK, Estimate

TRAIN, STOP, REPORT = 0, 1, 2
"""Parts of the pairs: a critic is fitted on the first, stopped by the second, and its value read on the third."""


@dataclass(frozen=True)
class Pairs:
    """Draws (x, y) from P joint distributions side by side, e.g. of the layers of a model.

    Attributes:
        x: observations, `(P, G, dx)`.
        y: what they are about: `(P, G, dy)`, or `(1, G, dy)` where all problems share it; classes are int64, `(P, G)`
            or `(1, G)`.
        record: the record of each pair, `(G,)`: the unit of resampling. Several pairs may be about one record.
        part: `TRAIN`, `STOP` or `REPORT` of each pair, `(G,)`; parts have no record in common.
        side: the side of each pair, `(G,)`, where the x of a pair may hold records of another side (e.g. as the others
            of its batch): y of another side is then no independent draw, and never stands in for a pair's own. A record
            is of one side. None: all are of one.
    """

    x: Tensor
    y: Tensor
    record: Tensor
    part: Tensor
    side: Tensor | None = None

    @property
    def discrete(self) -> bool:
        """Whether y are classes."""
        return not self.y.is_floating_point()


@dataclass(frozen=True)
class Measured:
    """What an estimator found for one problem.

    Attributes:
        bits: the mutual information in bits, on pairs that nothing was fitted to.
        matched_minus_mismatched: the difference of the estimate on matched and on mismatched pairs, each as the
            estimator sees them in its own sample (arXiv 2502.02913); optimism of the fit included.
    """

    bits: Estimate
    matched_minus_mismatched: Estimate

    def saturated(self) -> Measured:
        """The same, where the truth may well lie above."""
        found = (self.bits, self.matched_minus_mismatched)
        return Measured(*(replace(one, status="saturated") if one.status == OK else one for one in found))


class Estimator(Protocol):
    """Mutual information of every problem, in their order."""

    def __call__(self, pairs: Pairs, seed: int) -> list[Measured]:
        """Never raises for data that say nothing (constant, too few): those are inconclusive, with the reason."""
