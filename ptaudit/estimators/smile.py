"""SMILE: Donsker-Varadhan with clipped density ratios.

E f - log E' clip(exp(f), exp(-5), exp(5)) (Song and Ermon, arXiv 1910.06222, with tau = 5), the critic trained with the
Jensen-Shannon objective as in their code (Nowozin et al., NeurIPS 2016), which makes f the log density ratio.

It is NO BOUND, not even in expectation and with the optimal critic: clipping takes away what E' exp(f) has above
exp(5), so the logarithm is too small. It buys a small variance. With the optimal critic on normal pairs of 3
coordinates and 1,000 records it gives 3.7, 6.4, 9.5 and 13.6 bits where the truth is 3.6, 6.1, 8.5 and 11.1; the excess
can reach 7.2 bits.

Ceiling: log2 of the held-out records, and for classes at most their entropy; what comes out above is shown as the
ceiling, `saturated`. Where it fails: above about 4 bits it is too high; below, it is close to MINE.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ptaudit.estimators.bounds import FAR, Rivals, diagonal
from ptaudit.estimators.mine import DonskerVaradhan
from ptaudit.estimators.variational import estimator

TAU = 5.0
"""Largest log density ratio in the mean over mismatched pairs, in nats."""


@dataclass(frozen=True)
class Smile(DonskerVaradhan):
    """Clipped, and trained to tell matched from mismatched pairs."""

    clip: float = TAU

    def loss(self, scores: Tensor, rivals: Rivals, memory: Tensor) -> tuple[Tensor, Tensor]:
        """Cross-entropy of matched against mismatched."""
        softplus, held = torch.nn.functional.softplus, scores.clamp(-FAR, FAR)
        mismatched = (softplus(held) * rivals.chance).sum(-1).mean(-1)
        return softplus(-diagonal(held)).mean(-1) + mismatched, memory


measure = estimator(Smile())
"""Mutual information in bits, not a bound; see `variational.Variational`."""
