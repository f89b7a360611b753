"""How much of the prior is mixed into a posterior: what one false exclusion may cost is finite, chosen with care."""

from __future__ import annotations

import torch
from torch import Tensor

SHARES = (1e-4, 3e-4, 1e-3, 3e-3, 0.01, 0.0325, 0.0625, 0.1, 0.2, 0.4, 0.6, 0.85)
"""Shares that are tried, beside the smallest allowed one and 1: who answers with the prior has exactly 0 bits."""

MOST_CAUTIOUS = 0.2
"""Largest share that caution alone may choose: it costs 4 % of a small leak, which more would hide."""


def mixed_bits(log_ratio: Tensor, share: float) -> Tensor:
    """Bits of each game from the log of posterior over prior of its secret, with a share of the prior mixed in."""
    return torch.log2((1.0 - share) * log_ratio.double().exp() + share)


def cautious_share(log_ratio: Tensor, least: float) -> float:
    """The largest share that costs at most one standard error of the games' bits.

    The one-standard-error rule is that of Breiman et al., CART (1984): a larger share costs little where the posterior
    is right, and saves much where a game holds what no game before has shown.

    Args:
        log_ratio: log of posterior over prior of the secrets, `(G,)`.
        least: smallest share that is allowed.
    """
    tried = sorted({least, *(share for share in SHARES if share > least), 1.0})
    bits = torch.stack([mixed_bits(log_ratio, share) for share in tried])
    best = int(bits.mean(1).argmax())
    lost = bits - bits[best]
    error = lost.std(1) / max(1.0, len(log_ratio)) ** 0.5
    most = max(tried[best], MOST_CAUTIOUS)
    fine = [share for share, d, e in zip(tried, lost.mean(1).tolist(), error.tolist()) if d >= -e and share <= most]
    return max(fine, default=tried[best])
