"""MINE: the Donsker-Varadhan representation with a neural critic.

E f - log E' exp(f) is at most I(X; Y) for expectations (Donsker and Varadhan 1983; Belghazi et al., arXiv 1801.04062).
With the mean of n held-out pairs inside the logarithm it is not: the log of a mean is too small on average, so the
number is too large, by about the relative variance of exp(f) over 2n. It claims no lower bound on a finite sample.
Trained with the bias-corrected gradient of Belghazi et al.: the denominator is a moving average.

Ceiling: log2 of the held-out records, beyond which no such number can be trusted (McAllester and Stratos, 2020), and
for classes at most their entropy. What comes out above is shown as the ceiling, `saturated`.

Where it fails: read on its own training pairs, as is common, it reports whatever the network can memorise: that number
is `matched_minus_mismatched`, beside the held-out one. Held out, it is too high where exp(f) has heavy tails.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ptaudit.estimators.bounds import FAR, Rivals, as_x, as_y, diagonal, mismatched_mean, no_choice, rival_ratios
from ptaudit.estimators.variational import estimator

RATE = 0.01
"""Share of a new batch in the moving average of E' exp(f)."""


@dataclass(frozen=True)
class DonskerVaradhan:
    """Nothing to choose: the representation does not change when a constant is added to the critic.

    Attributes:
        clip: scores in E' exp(f) are held to [-clip, clip]; infinity leaves them as they are.
    """

    clip: float = float("inf")

    def loss(self, scores: Tensor, rivals: Rivals, memory: Tensor) -> tuple[Tensor, Tensor]:
        """The representation with its sign turned, its gradient bias-corrected; `memory` is the moving average."""
        mean = mismatched_mean(scores, rivals)
        now = mean.detach()
        memory = torch.where(torch.isnan(memory), now, memory.lerp(now, RATE))
        return mean / memory - diagonal(scores).mean(-1), memory

    def choices(self, scores: Tensor, rivals: Rivals) -> Tensor:
        """See `Bound`."""
        return no_choice(scores, rivals)

    def means(self, scores: Tensor, rivals: Rivals, choices: Tensor) -> Tensor:
        """See `Bound`."""
        top, ratio = self._ratios(scores, rivals)
        level = rivals.mean(as_x(ratio, rivals)).log()[:, None]
        return rivals.mean((diagonal(scores) - top - level).clamp(-FAR, FAR))[:, None]

    def values(self, scores: Tensor, rivals: Rivals, choice: Tensor) -> Tensor:
        """See `Bound`; matched pairs are held to `FAR` of the mean, so that one of them cannot outweigh all others."""
        top, ratio = self._ratios(scores, rivals)
        one, other = as_x(ratio, rivals), as_y(ratio, rivals)
        mean = rivals.mean(one)[:, None]
        ahead = diagonal(scores) - top - mean.log()
        free = rivals.mean((ahead.abs() < FAR).float())[:, None]
        return ahead.clamp(-FAR, FAR) - free * (one + other) / mean + free * (1.0 + rivals.side_mean(one) / mean)

    def _ratios(self, scores: Tensor, rivals: Rivals) -> tuple[Tensor, Tensor]:
        """See `rival_ratios`; the largest score is `(P, 1)`."""
        top, ratio = rival_ratios(scores.clamp(-self.clip, self.clip), rivals)
        return top[:, None], ratio


measure = estimator(DonskerVaradhan())
"""Mutual information in bits, not a bound on a finite sample; see `variational.Variational`."""
