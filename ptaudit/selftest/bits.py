"""Identity bits on tokens of known distribution, against the exact posterior over the same number of candidates."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from ptaudit.estimate import identity_bits
from ptaudit.report.selftest import Answer
from ptaudit.stats.estimate import Estimate

RECORDS, COORDINATES, CANDIDATES = 1024, 16, 128
TOLERANCE = 0.1
"""Share by which an estimate may differ from the exact value, or half its interval if that is wider."""

DrawSample = Callable[[int, torch.Generator], Tensor]
"""Draws n records, `(n, k)`, float64."""

LogDensity = Callable[[Tensor], Tensor]
"""From squared distances to log-densities, up to a constant."""


def gaussian_batch() -> Answer:
    """Standard Gaussian tokens in batches of 4: three others hide the target, a Gaussian of variance 3."""
    found = identity_bits(_gaussian(RECORDS, _seeded(0)), batch_size=4, candidates=CANDIDATES)
    return _close(found, exact_bits(_gaussian, _scaled(_gaussian, math.sqrt(3.0)), _gaussian_density(3.0)))


def gaussian_noise() -> Answer:
    """Standard Gaussian tokens, one record, noise of twice their size."""
    found = identity_bits(_gaussian(RECORDS, _seeded(1)), batch_size=1, noise=2.0, candidates=CANDIDATES)
    return _close(found, exact_bits(_gaussian, _scaled(_gaussian, 2.0), _gaussian_density(4.0)))


def heavy_tails() -> Answer:
    """Student-t tokens with 2 degrees of freedom in batches of 2: infinite variance, but a known density."""
    found = identity_bits(_student(RECORDS, _seeded(2)), batch_size=2, candidates=CANDIDATES)
    return _close(found, exact_bits(_student, _student, _student_density))


def shuffled_secret() -> Answer:
    """With the secret shuffled the same games hold nothing; one real answer beside it shows that they were played."""
    found = identity_bits(_gaussian(RECORDS, _seeded(3)), batch_size=4, candidates=CANDIDATES)
    return Answer("0 ± 0.05 bits", f"{found.null:.3f} bits", abs(found.null) <= 0.05 < found.lo)


def outliers() -> Answer:
    """Five records a thousand times as large: bits stay between 0 and the ceiling, even before they are clipped."""
    tokens = _gaussian(RECORDS, _seeded(4))
    tokens[:5] *= 1000.0
    found = identity_bits(tokens, batch_size=8, candidates=CANDIDATES)
    value = unclipped(found)
    return Answer(f"0 to {found.ceiling:.2f} bits", f"{value:.2f} bits", -0.01 <= value <= found.ceiling)


def exact_bits(draw: DrawSample, hide: DrawSample, log_density: LogDensity, sets: int = 60) -> float:
    """Bits of the exact posterior over K candidates, one of which is seen with something of known density added.

    Averages the negative entropy of the posterior, which has the mean of its log-probability of the truth and less
    variance.

    Args:
        draw: distribution of the candidates.
        hide: distribution of what is added.
        log_density: density of what is added.
        sets: sets of K candidates; each of them is hidden once.
    """
    generator = _seeded(5)
    total = 0.0
    for _ in range(sets):
        known = draw(CANDIDATES, generator)
        seen = known + hide(CANDIDATES, generator)
        log_p = torch.log_softmax(log_density(torch.cdist(seen, known).square()), -1)
        total += float((log_p.exp() * log_p).nan_to_num().sum(-1).mean())
    return math.log2(CANDIDATES) + total / sets / math.log(2.0)


def unclipped(estimate: Estimate) -> float:
    """The value before it was clipped to [0, ceiling]: the mean of its resamples."""
    return float(estimate.draws.mean()) if estimate.draws is not None else math.nan


def _close(found: Estimate, exact: float) -> Answer:
    room = max(TOLERANCE * exact, (found.hi - found.lo) / 2.0)
    passed = found.conclusive and abs(found.value - exact) <= room
    return Answer(f"{exact:.2f} ± {room:.2f} bits", f"{found.value:.2f} bits", passed)


def _seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def _gaussian(n: int, generator: torch.Generator) -> Tensor:
    return torch.randn(n, COORDINATES, generator=generator, dtype=torch.float64)


def _student(n: int, generator: torch.Generator) -> Tensor:
    """All coordinates of a record share their scale, as those of a gradient do."""
    scale = torch.randn(n, 2, generator=generator, dtype=torch.float64).square().mean(1, keepdim=True).sqrt()
    return _gaussian(n, generator) / scale


def _scaled(draw: DrawSample, factor: float) -> DrawSample:
    return lambda n, generator: factor * draw(n, generator)


def _gaussian_density(variance: float) -> LogDensity:
    return lambda distance_sq: -distance_sq / (2.0 * variance)


def _student_density(distance_sq: Tensor) -> Tensor:
    return -(2.0 + COORDINATES) / 2.0 * torch.log1p(distance_sq / 2.0)
