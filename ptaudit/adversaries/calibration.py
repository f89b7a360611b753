"""Calibration of a posterior: temperature and a share of the prior guess, chosen on a grid.

The adversary who only knows the prior (share 1: exactly 0 bits) is in the family, so that a calibrated adversary who
learns nothing says so. Scores are `(R, G, K)` log-likelihoods; the secret of game g is the index `secret[g]`.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

SLOPES = (0.0625, 0.125, 0.25, 0.5, 0.7, 1.0, 1.4)
"""Inverse temperatures on the grid."""

SHARES = (1e-4, 1e-3, 0.01, 0.03, 0.1, 0.3, 0.6, 0.85, 1.0)
"""Shares of the prior on the grid."""

POINT_TOLERANCE = 0.005
"""Share of the bits on the folds that is given up for a larger share of the prior."""

MEMBER_TOLERANCE = 0.02
"""Share of the bits on the folds that is given up for a heavier tail."""


@dataclass(frozen=True)
class Calibration:
    """A posterior is (1 - share) * softmax(slope * score + log prior) + share * prior; tensors of shape `(R,)`."""

    slope: Tensor
    share: Tensor

    def at(self, rows: Tensor) -> Calibration:
        """The calibration of some rows."""
        return Calibration(self.slope[rows], self.share[rows])


def log_posterior_at(scores: Tensor, slope: Tensor, log_prior: Tensor, *secrets: Tensor) -> list[Tensor]:
    """Natural log of the posterior at each secret, before mixing.

    The exponentials dominate the cost, so they are float32, after the maximum of each game is taken out in float64.

    Args:
        scores: log-likelihoods, `(R, G, K)`.
        slope: inverse temperatures, `(R,)`.
        log_prior: `(K,)`.
        secrets: index tensors `(G,)`.

    Returns:
        One tensor `(R, G)` for each of the secrets.
    """
    logits = ((scores - scores.amax(-1, keepdim=True)) * slope[:, None, None] + log_prior).float()
    total = logits.logsumexp(-1)
    rows = len(scores)
    return [logits.gather(-1, s[None, :, None].expand(rows, -1, 1)).squeeze(-1) - total for s in secrets]


def gain(log_p: Tensor, share: Tensor, log_prior_at: Tensor) -> Tensor:
    """Bits gained over the prior by the mixed posterior, (1 - share) * p + share * prior; arguments broadcast."""
    ratio = (log_p.double() - log_prior_at).exp()
    return torch.log2((1.0 - share) * ratio + share)


def calibration_tables(scores: Tensor, log_prior: Tensor, *secrets: Tensor) -> list[Tensor]:
    """Mean bits of every point of the grid, for each of the secrets: a list of `(R, slopes, shares)`."""
    shares = torch.tensor(SHARES, dtype=torch.float64, device=scores.device)[None, :, None]
    tables: list[list[Tensor]] = [[] for _ in secrets]
    for slope in SLOPES:
        found = log_posterior_at(scores, scores.new_full((len(scores),), slope), log_prior, *secrets)
        for table, log_p, secret in zip(tables, found, secrets):
            table.append(gain(log_p[:, None, :], shares, log_prior[secret]).mean(-1))
    return [torch.stack(table, 1) for table in tables]


def calibrated_gain(scores: Tensor, log_prior: Tensor, calibration: Calibration, secret: Tensor) -> Tensor:
    """Bits of each game under a calibrated posterior: `(R, G)`."""
    log_p = log_posterior_at(scores, calibration.slope, log_prior, secret)[0]
    return gain(log_p, calibration.share[:, None], log_prior[secret])


def uniform(candidates: int, like: Tensor) -> Tensor:
    """Log of the uniform prior over the candidates."""
    return torch.full((candidates,), -float(torch.log(torch.tensor(float(candidates)))), dtype=like.dtype, device=like.device)


def cautious(bits: Tensor, tail: Tensor) -> Tensor:
    """For each row the heaviest-tailed member within `MEMBER_TOLERANCE` of the best, `(R, members)` -> `(R,)`.

    An outlier that the adversary's own records do not hold ruins a light-tailed posterior and barely moves a
    heavy-tailed one, so a small gain on the folds is not worth a light tail.

    Args:
        bits: mean bits on the folds.
        tail: weight of the tail of each member (1 / degrees of freedom), `(members,)`.
    """
    top = bits.amax(1, keepdim=True)
    eligible = bits >= top - MEMBER_TOLERANCE * top.abs()
    rank = torch.where(eligible, tail + 0.001 * (bits - top).exp(), -torch.ones_like(bits))
    return rank.argmax(1)


def top_hit(scores: Tensor, secret: Tensor) -> Tensor:
    """Whether the secret has the highest score: 1, or 1/ties when it shares the first place; `(R, G, K)` -> `(R, G)`."""
    chosen = scores.gather(-1, secret[None, :, None].expand(len(scores), -1, 1))
    first = scores.amax(-1, keepdim=True)
    return (chosen == first).squeeze(-1).to(scores.dtype) / (scores == first).sum(-1)


def best(table: Tensor) -> tuple[Calibration, Tensor]:
    """For each row the most cautious point of the grid within `POINT_TOLERANCE` of the best, and its mean bits `(R,)`.

    Cautious: the largest share of the prior, then the smallest slope (the order of the grid).
    """
    by_share = table.transpose(1, 2).flatten(1)
    top = by_share.amax(1, keepdim=True)
    eligible = by_share >= top - POINT_TOLERANCE * top.abs()
    order = torch.arange(len(SHARES), device=table.device).repeat_interleave(len(SLOPES)) * len(SLOPES)
    within = (by_share - top).exp()
    index = torch.where(eligible, order + within, -torch.ones_like(by_share)).argmax(1)
    value = by_share.gather(1, index[:, None]).squeeze(1)
    share, slope = index // len(SLOPES), index % len(SLOPES)
    slopes = torch.tensor(SLOPES, dtype=torch.float64, device=table.device)
    shares = torch.tensor(SHARES, dtype=torch.float64, device=table.device)
    return Calibration(slopes[slope], shares[share]), value
