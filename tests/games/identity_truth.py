"""Tokens of known distribution and the exact posterior of the identity game on them."""

import math

import torch
from torch import Tensor


def gaussian(n: int, k: int, seed: int) -> Tensor:
    return torch.randn(n, k, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def student(n: int, k: int, seed: int, df: int = 2) -> Tensor:
    """Multivariate Student-t: all coordinates of a record share their scale, as those of a gradient do."""
    generator = torch.Generator().manual_seed(seed)
    points = torch.randn(n, k, generator=generator, dtype=torch.float64)
    chi_sq = torch.randn(n, df, generator=generator, dtype=torch.float64).square().sum(1, keepdim=True)
    return points / (chi_sq / df).sqrt()


def log_normal(n: int, k: int, seed: int) -> Tensor:
    """Random directions with log-normal norms."""
    generator = torch.Generator().manual_seed(seed)
    points = torch.randn(n, k, generator=generator, dtype=torch.float64)
    return points * torch.randn(n, 1, generator=generator, dtype=torch.float64).exp()


def exact_bits(k: int, candidates: int, variance: float, games: int = 12_000) -> float:
    """Bits of the exact posterior over K standard Gaussian candidates hidden by Gaussian noise, by Monte Carlo.

    Averages the posterior's negative entropy, which has the mean of log p(secret) and a fraction of its variance.

    Args:
        k: coordinates.
        candidates: K.
        variance: of what hides a candidate per coordinate: m - 1 + s^2, over the number of rounds (their mean is
            sufficient).
        games: least number of games.
    """
    generator = torch.Generator().manual_seed(1)
    total = 0.0
    sets = -(-games // candidates)
    for _ in range(sets):
        known = torch.randn(candidates, k, generator=generator, dtype=torch.float64)
        hidden = torch.randn(candidates, k, generator=generator, dtype=torch.float64)
        distance_sq = torch.cdist(known + math.sqrt(variance) * hidden, known).square()
        log_p = torch.log_softmax(-distance_sq / (2.0 * variance), -1)
        total += float((log_p.exp() * log_p).nan_to_num().sum(-1).mean())
    return math.log2(candidates) + total / sets / math.log(2.0)
