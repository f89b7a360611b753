"""Problems with known answers for the variational estimators, and the bounds by double loops."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from ptaudit.estimators.base import REPORT, STOP, TRAIN, Pairs

Scores = Callable[[Tensor, Tensor], Tensor]


def parts(n: int) -> Tensor:
    """60/20/20 in order."""
    return torch.tensor([TRAIN] * int(0.6 * n) + [STOP] * int(0.2 * n) + [REPORT] * (n - int(0.6 * n) - int(0.2 * n)))


def normal(n: int, rho: list[float], seed: int = 0, d: int = 1) -> Pairs:
    """One problem for each correlation, x and y of d coordinates that go together in pairs."""
    generator = torch.Generator().manual_seed(seed)
    y, noise = torch.randn(2, 1, n, d, generator=generator)
    r = torch.tensor(rho)[:, None, None]
    return Pairs(r * y + (1 - r**2).sqrt() * noise, y, torch.arange(n), parts(n))


def normal_bits(rho: float, d: int = 1) -> float:
    """Their mutual information."""
    return -0.5 * d * math.log2(1 - rho**2)


def optimal_scores(x: Tensor, y: Tensor, rho: float) -> Tensor:
    """Log density ratio of every x with every y in nats, `(1, n, n)`; x and y are `(n, d)`."""
    square = x.square().sum(-1)[:, None] + y.square().sum(-1)
    d = x.shape[-1]
    quadratic = (2 * rho * x @ y.T - rho**2 * square) / (2 * (1 - rho**2))
    return (quadratic - 0.5 * d * math.log(1 - rho**2))[None]


def wide(n: int, signal: float, seed: int = 0, problems: int = 2, d: int = 256) -> Pairs:
    """Heavy-tailed tokens of 256 coordinates: a linear image of y, noise, and a size that varies by orders."""
    generator = torch.Generator().manual_seed(seed)
    y = torch.randn(1, n, 8, generator=generator)
    weights = torch.randn(problems, 8, d, generator=generator)
    size = torch.exp(1.5 * torch.randn(problems, n, 1, generator=generator))
    x = size * (signal * y @ weights + torch.randn(problems, n, d, generator=generator))
    return Pairs(x, y, torch.arange(n), parts(n))


def mismatched_mean(scores: Tensor, record: list[int], use: Callable[[float], float]) -> float:
    """Mean of `use(f)` over records, their pairs, other records and their pairs, by loops."""
    of = {r: [i for i, other in enumerate(record) if other == r] for r in set(record)}
    total = 0.0
    for r, mine in of.items():
        for i in mine:
            for s, theirs in of.items():
                if s != r:
                    mean = sum(use(float(scores[i, j])) for j in theirs) / len(theirs)
                    total += mean / (len(mine) * len(of) * (len(of) - 1))
    return total


def matched_mean(values: list[float], record: list[int]) -> float:
    """Mean over records of the mean over their pairs, by loops."""
    records = sorted(set(record))
    means = [[v for v, mine in zip(values, record, strict=True) if mine == r] for r in records]
    return sum(sum(one) / len(one) for one in means) / len(records)
