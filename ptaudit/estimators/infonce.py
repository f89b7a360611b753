"""InfoNCE: which of the held-out records does this x belong to?

Bounds I(X; Y) from below, in expectation, for any critic (van den Oord et al., arXiv 1807.03748; Poole et al.,
arXiv 1905.06922): the mean of log2 of the posterior of the true y among R candidates, over its prior 1/R. The
candidates are the y of all held-out records, one a record; of a record with several pairs, each pair in equal shares
(by Jensen this only lowers the bound), and never as a rival of its own record.

Ceiling: log2 R; for classes, which the candidates repeat in their frequencies, also their entropy.

Where it fails: it cannot tell more than its ceiling, and falls short near it (optimal critic, 1,000 records: 3 % below
a truth of 6 bits, 7 % below 8.5); a network finds a relation hidden in many coordinates at once (25 coordinates turned
by their length) only with more data than an audit has. It is then low. With few records and wide data the closed form
of `start` or nothing is chosen.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from ptaudit.estimators.bounds import FAR, Rivals, as_x, as_y, diagonal
from ptaudit.estimators.variational import estimator

SHARES = (1e-3, 0.01, 0.05, 0.2)
"""Shares of the uniform posterior that a critic may be mixed with: they limit what one bad score can cost."""


@dataclass(frozen=True)
class InfoNCE:
    """The posterior may be mixed with the uniform one: it is still a posterior, and the bound holds for any."""

    def loss(self, scores: Tensor, rivals: Rivals, memory: Tensor) -> tuple[Tensor, Tensor]:
        """Cross-entropy of the posterior."""
        ahead = (scores - diagonal(scores)[..., None]).clamp(-FAR, 2.0 * FAR)
        return torch.log1p((ahead.exp() * (rivals.chance * rivals.rival_pairs)).sum(-1)).mean(-1), memory

    def choices(self, scores: Tensor, rivals: Rivals) -> Tensor:
        """Shares of the uniform posterior."""
        return scores.new_tensor(SHARES).expand(len(scores), -1)

    def means(self, scores: Tensor, rivals: Rivals, choices: Tensor) -> Tensor:
        """See `Bound`."""
        _, own, _, total = _posterior(scores, rivals)
        share = choices[..., None]
        return rivals.mean(((1.0 - share) * (own / total)[:, None] + share).log())

    def values(self, scores: Tensor, rivals: Rivals, choice: Tensor) -> Tensor:
        """See `Bound`: a record lowers the posterior of others by its own likelihood, against that of their average."""
        likelihood, own, others, total = _posterior(scores, rivals)
        ratio, share = (1.0 - choice[:, None]) * own / total, choice[:, None]
        mixed = (ratio + share).clamp_min(math.exp(-FAR))
        pull = ratio / (mixed * total) * (1.0 - 1.0 / rivals.candidates)
        rival = as_y(likelihood * pull[..., None], rivals) - torch.einsum("pi,ji->pj", pull * others, rivals.chance)
        return mixed.log() - rival


def _posterior(scores: Tensor, rivals: Rivals) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Likelihoods `(P, n, n)`, largest 1 for each x; that of its own y, mean of its rivals, mean of all, `(P, n)`."""
    seen = scores if rivals.same is None else scores.masked_fill(~rivals.same, -torch.inf)
    likelihood = (seen - seen.amax(-1, keepdim=True)).exp()
    own, others = diagonal(likelihood), as_x(likelihood, rivals)
    return likelihood, own, others, (own + (rivals.candidates - 1) * others) / rivals.candidates


measure = estimator(InfoNCE())
"""Mutual information in bits, bounded from below; see `variational.Variational`."""
