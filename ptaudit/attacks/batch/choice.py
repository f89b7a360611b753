"""Setting and calibration of a posterior over games whose priors may differ.

A posterior is (1 - share) * softmax(slope * log-ratio + log prior) + share * prior: share 1 is the adversary who only
knows the prior, exactly 0 bits.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ptaudit.attacks.calibration import LEAST_PRIOR, gain, log_prior, most_cautious, unseen

COARSE_SLOPES = tuple(2.0**i for i in range(-4, 3))
COARSE_SHARES = (0.003, 0.05, 0.3, 1.0)
"""For the choice of a setting."""

SLOPES = tuple(2.0 ** (i / 2.0) for i in range(-9, 6))
"""Above 1 too: a predictor that was held back is less sure than it should be."""

SHARES = (1e-4, 1e-3, 0.01, 0.0325, 0.0625, 0.1, 0.2, 0.4, 0.6, 0.85, 1.0)
"""For the calibration of a setting."""


@dataclass(frozen=True)
class Choice:
    """What was chosen for each of R rows, tensors `(R,)`: setting, slope, share of the prior, mean bits with it."""

    setting: Tensor
    slope: Tensor
    share: Tensor
    bits: Tensor


def choose_setting(ratios: Tensor, prior: Tensor, secret: Tensor) -> Choice:
    """The best setting of every row and its calibration.

    Args:
        ratios: log-likelihood ratios, `(A, R, G, K)`, float64.
        prior: `(G, K)`.
        secret: `(G,)`.
    """
    every = torch.arange(ratios.shape[1], device=ratios.device)
    coarse = torch.stack([_mean_bits(some, prior, secret) for some in ratios])
    setting = coarse.argmax(0)
    slope, share, bits = _calibrated(_own(ratios[setting, every], prior, secret, SLOPES))
    return Choice(setting, slope, share, bits)


def answer(ratios: Tensor, prior: Tensor, choice: Choice) -> Tensor:
    """Log-posteriors `(R, G, K)` of the chosen settings, from the log-ratios of all, `(A, R, G, K)`."""
    scores = ratios[choice.setting, torch.arange(ratios.shape[1], device=ratios.device)]
    before = log_prior(prior)
    sure = choice.slope[:, None, None] * (scores - scores.amax(-1, keepdim=True))
    over = sure - (sure + before).logsumexp(-1, keepdim=True)
    share = choice.share[:, None, None]
    return before + torch.logaddexp((1.0 - share).log() + over, share.log())


def _own(ratios: Tensor, prior: Tensor, secret: Tensor, slopes: tuple[float, ...]) -> Tensor:
    """Log of posterior over prior of the secrets at every slope: `(R, G, K)` -> `(R, slopes, G)`."""
    low = ratios - ratios.amax(-1, keepdim=True)
    own = low.gather(-1, secret[None, :, None].expand(len(low), -1, 1)).squeeze(-1)
    by_value, weight = low.movedim(-1, 0).contiguous(), prior.double().T[:, None]
    # The largest log-ratio may be of a value that is impossible before the gradient.
    totals = [((by_value * slope).exp_() * weight).sum(0).clamp_min_(LEAST_PRIOR).log_() for slope in slopes]
    return torch.stack([slope * own - total for slope, total in zip(slopes, totals)], 1)


def _mean_bits(ratios: Tensor, prior: Tensor, secret: Tensor) -> Tensor:
    """Mean bits of the best coarse calibration, `(R,)`."""
    ratio = _own(ratios, prior, secret, COARSE_SLOPES).exp_()
    found = [torch.log2((1.0 - share) * ratio + share).mean(-1) for share in COARSE_SHARES]
    return torch.stack(found).amax((0, 2))


def _calibrated(own: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The most cautious calibration that is not worse than the best by more than one standard error of the games.

    See `calibration.most_cautious`.

    Args:
        own: log of posterior over prior of the secrets, `(R, slopes, G)`.

    Returns:
        Slope, share and mean bits, `(R,)` each.
    """
    games = own.shape[-1]
    index = torch.arange(len(own), device=own.device)
    slopes, shares = own.new_tensor(SLOPES), own.new_tensor(SHARES)
    means = torch.stack([gain(own, share).mean(-1) for share in shares], -1)
    by_share, slope_of = means.max(1)
    by_share = torch.where(shares >= unseen(1, games), by_share, -torch.inf)
    share = most_cautious(by_share, gain(own[index[:, None], slope_of], shares[:, None]), shares)
    return slopes[slope_of[index, share]], shares[share], by_share[index, share]
