"""What was rebuilt as a probability, and its bits over the prior alone (V-information, Xu et al., arXiv 2002.10689).

Numbers are Gaussian in the principal axes of the reference records, each axis with one variance: that of the prior, or
that of what is left around the prediction. Categories have the prior's frequencies, tilted towards what is predicted;
so have numbers that are 0 or 1. A share of the prior is mixed in, so that one record that was missed costs finite bits
and a decoder that learned nothing gives 0. All of it is fitted on records that the decoder was not fitted on.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ptaudit.data.contents.base import Parts

MOST_AXES = 64
RECORDS_PER_AXIS = 10
"""Principal axes in which numbers are predicted: at most so many, and no more than the reference records allow."""

LEAST_VARIANCE = 1e-6
"""Smallest predictive variance, as a share of the prior's: about 10 bits an axis are the most that is reported."""

SHARES = (1.0, 0.7, 0.4, 0.2, 0.1, 0.05, 0.02, 0.01, 0.003, 0.001)
"""Of the prior."""

SLOPES = (0.03, 0.1, 0.2, 0.4, 0.7, 1.0, 2.0, 5.0, 20.0)
POWERS = (0.0, 0.5, 1.0)
"""A difference from the prior's frequency counts so many times, divided by such a power of the prior's variance."""

_LEFT_BY_MEDIAN = 0.4549
"""Median of the square of a standard normal number."""

LogRatio = Callable[[Tensor, Tensor], Tensor]
"""Predictions and truths `(n, D)` -> natural log-likelihood ratio of each truth to the prior, `(n,)`, float64."""


@dataclass(frozen=True)
class Predictive:
    """A fitted predictive distribution.

    Attributes:
        ratio: its log-likelihood ratio to the prior.
        share: of the prior that is mixed in; 1 where it says nothing.
        gained: mean bits on the records that it was chosen on.
    """

    ratio: LogRatio
    share: float
    gained: float

    def bits(self, predicted: Tensor, truth: Tensor) -> Tensor:
        """Bits of every row over the prior, `(n, D)`, `(n, D)` -> `(n,)` float64."""
        return mixed_bits(self.ratio(predicted, truth), self.share)


@dataclass(frozen=True)
class Reference:
    """The prior that records give.

    Attributes:
        values: the records, `(R, D)` float64.
        parts: which of their numbers are what.
        mean: of the numbers among them, `(k,)`.
        axes: their leading principal axes, along which they have variance 1, `(k, r)`.
    """

    values: Tensor
    parts: Parts
    mean: Tensor
    axes: Tensor

    @classmethod
    def of(cls, records: Tensor, parts: Parts) -> Reference:
        """From records `(R, D)`."""
        values = records.double()
        numbers = values[:, parts.numbers]
        mean, axes = _principal(numbers) if len(parts.numbers) else (numbers.new_zeros(0), numbers.new_zeros(0, 0))
        return cls(values, parts, mean, axes)

    def along(self, values: Tensor) -> Tensor:
        """Numbers of records `(n, D)` in the principal axes, `(n, r)`."""
        found: Tensor = (values.double()[:, self.parts.numbers] - self.mean) @ self.axes
        return found


def fit(trial: Tensor, truth: Tensor, reference: Reference) -> Predictive:
    """The predictive that says most on trial predictions.

    Args:
        trial: predictions for records that the decoder was not fitted on, `(c, D)`.
        truth: those records, `(c, D)`.
        reference: the prior.
    """
    trial, truth, parts = trial.double(), truth.double(), reference.parts
    others = [_tilted(trial, truth, reference, place, _categories) for place in parts.groups]
    if len(parts.binary):
        others.append(_tilted(trial, truth, reference, torch.from_numpy(parts.binary), _bernoulli))
    found = []
    for robust in (False, True) if len(parts.numbers) else (False,):
        ratio = _summed([*others, *([_normal(trial, truth, reference, robust)] if len(parts.numbers) else [])])
        told = ratio(trial, truth)
        gains = [float(mixed_bits(told, share).mean()) for share in SHARES]
        best = max(range(len(SHARES)), key=gains.__getitem__)
        found.append(Predictive(ratio, SHARES[best], gains[best]))
    return max(found, key=lambda one: one.gained)


def mixed_bits(ratio: Tensor, share: float) -> Tensor:
    """Bits of a mixture of the predictive and a share of the prior over the prior."""
    if share >= 1.0:
        return torch.zeros_like(ratio)
    most = torch.logaddexp(ratio + math.log1p(-share), torch.full_like(ratio, math.log(share)))
    return most / math.log(2.0)


def entropy(truth: Tensor, reference: Reference) -> float:
    """Mean bits that the prior needs for a record, `(n, D)`; infinite where there are numbers."""
    parts, known = reference.parts, reference.values
    if len(parts.numbers):
        return math.inf
    truth = truth.double()
    total = torch.zeros(len(truth), dtype=torch.float64, device=truth.device)
    for place in parts.groups:
        p = _frequency(known[:, place], True)
        total -= (truth[:, place] * p.log()).sum(1)
    if len(parts.binary):
        mine, p = truth[:, parts.binary], _frequency(known[:, parts.binary], False)
        total -= (mine * p.log() + (1.0 - mine) * (-p).log1p()).sum(1)
    return float(total.mean()) / math.log(2.0)


def _summed(terms: Sequence[LogRatio]) -> LogRatio:
    return lambda predicted, truth: torch.stack([term(predicted, truth) for term in terms]).sum(0)


def _normal(trial: Tensor, truth: Tensor, reference: Reference, robust: bool) -> LogRatio:
    along = reference.along
    guess, own = along(trial), along(truth)
    kept = ((guess * own).sum(0) / guess.square().sum(0).clamp_min(1e-300)).clamp(0.0, 1.0)
    rest = (own - kept * guess).square()
    left = (rest.median(0).values / _LEFT_BY_MEDIAN if robust else rest.mean(0)).clamp_min(LEAST_VARIANCE)
    worth = 0.5 * (own.square() - rest / left).mean(0) - 0.5 * left.log()
    if not robust:  # as much as two parameters gain by chance (Akaike)
        kept, left = (torch.where(worth > 2.0 / len(own), some, none) for some, none in ((kept, 0.0), (left, 1.0)))

    def ratio(predicted: Tensor, truth: Tensor) -> Tensor:
        own = along(truth)
        rest = (own - kept * along(predicted)).square()
        return (0.5 * (own.square() - rest / left) - 0.5 * left.log()).sum(1)

    return ratio


def _principal(known: Tensor) -> tuple[Tensor, Tensor]:
    """Mean `(d,)`, and the leading axes `(d, r)` in which the records have variance 1 and are uncorrelated."""
    mean = known.mean(0)
    most = max(1, min(MOST_AXES, len(known) // RECORDS_PER_AXIS))
    variance, axes = torch.linalg.eigh((known - mean).T @ (known - mean) / len(known))
    variance, axes = variance.flip(0)[:most], axes.flip(1)[:, :most]
    real = variance > 1e-10 * variance[0].clamp_min(1e-300)
    return mean, axes[:, real] / variance[real].sqrt()


Tilt = Callable[[Tensor, Tensor, Tensor], Tensor]
"""Frequencies `(k,)`, what is added to their logits `(n, k)`, truths `(n, k)` -> log-likelihood ratio `(n,)`."""


def _categories(p: Tensor, tilt: Tensor, truth: Tensor) -> Tensor:
    return (truth * tilt).sum(1) - torch.logsumexp(tilt + p.log(), 1)


def _bernoulli(p: Tensor, tilt: Tensor, truth: Tensor) -> Tensor:
    return (truth * tilt - torch.logaddexp((-p).log1p().expand_as(tilt), p.log() + tilt)).sum(1)


def _tilted(trial: Tensor, truth: Tensor, reference: Reference, places: Tensor | slice, kind: Tilt) -> LogRatio:
    known = reference.values[:, places]
    p, mean = _frequency(known, kind is _categories), known.mean(0)

    def at(slope: float, power: float) -> LogRatio:
        def ratio(predicted: Tensor, truth: Tensor) -> Tensor:
            tilt = slope * (predicted.double()[:, places] - mean) / (p * (1.0 - p)) ** power
            return kind(p, tilt.clamp(-40.0, 40.0), truth.double()[:, places])

        return ratio

    ways = [at(slope, power) for slope in SLOPES for power in POWERS]
    best = max(ways, key=lambda way: float(way(trial, truth).mean()))
    if float(best(trial, truth).mean()) * len(truth) <= 2.0:
        return lambda predicted, truth: torch.zeros(len(truth), dtype=torch.float64, device=truth.device)
    return best


def _frequency(known: Tensor, exclusive: bool) -> Tensor:
    """Frequencies with a pseudo-count, `(n, k)` -> `(k,)`."""
    n, k = known.shape
    return (known.sum(0) + 1.0 / (k if exclusive else 2.0)) / (n + 1.0)
