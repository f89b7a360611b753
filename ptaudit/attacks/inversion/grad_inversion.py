"""GradInversion (Yin et al., arXiv 2104.07586): squared distance, plausible records, and searches that agree.

To the distance of gradients come total variation and length (eq. 9), the statistics of BatchNorm layers where the
threat model grants those of the batch (eq. 10), and group consistency (eq. 11): the searches of a target, which start
at different places, are pulled towards their mean, pictures after each was moved to where it fits that mean best. The
rate of Adam rises at first and falls along a cosine; a little noise keeps searches from the first valley. Labels are
known, or read from the last layer. The paper registers pictures by RANSAC-flow, which learned from pictures; here they
are shifted.
"""

from __future__ import annotations

import math
from dataclasses import replace
from functools import partial

import torch
from torch import Tensor

from ptaudit.attacks.inversion import labels
from ptaudit.attacks.inversion.batch_norm import mismatch
from ptaudit.attacks.inversion.descent import Descent
from ptaudit.attacks.inversion.inverting_gradients import total_variation, why_not
from ptaudit.attacks.inversion.matching import Clock, Matching, chosen, squared
from ptaudit.attacks.inversion.messages import Budget, Granted, Reconstruction, SharedGradients
from ptaudit.progress import Progress

__all__ = ["rebuild", "why_not"]

SMOOTHNESS, LENGTH, STATISTICS, AGREEMENT = 1e-2, 1e-4, 1e-1, 1e-2
"""Weights of total variation, of squared length, of BatchNorm statistics and of group consistency, where the distance
of gradients is relative and numbers are in units of their spread."""

NOISE = 0.01
"""Standard deviation of the noise on every step, in units of the rate and of the spread."""

_WARM = 0.05
"""Share of the iterations in which the rate rises."""

_FARTHEST = 4
"""Largest shift of a picture, in pixels."""


def rate(share: float) -> float:
    """Rises linearly, then falls along a cosine."""
    if share < _WARM:
        return (share + 1e-3) / _WARM
    return 0.5 * (1.0 + math.cos(math.pi * (share - _WARM) / (1.0 - _WARM)))


def rebuild(
    seen: SharedGradients, granted: Granted, budget: Budget, generator: torch.Generator, progress: Progress
) -> Reconstruction:
    """See `messages.Rebuild`."""
    known = labels.recover(seen, granted) if granted.labels is None else granted.labels
    matching = Matching.of(seen, granted, budget.restarts, squared, known)
    matching = replace(matching, penalty=partial(_implausible, seen, granted, budget.restarts))
    start = [matching.within_bounds(variable) for variable in matching.start(generator, seen.records)]
    descent = Descent(0.1, rate, torch.clone, partial(_apart, restarts=budget.restarts), NOISE)
    with Clock(budget, progress, "rebuilding by grad-inversion", budget.iterations) as clock:
        values, variables = descent.minimise(matching, start, budget.iterations, clock, generator)
        return chosen(matching, values, variables, clock)


def _implausible(seen: SharedGradients, granted: Granted, restarts: int, records: Tensor, problems: Tensor) -> Tensor:
    """What records `(P, R, *shape)` are charged for their looks, `(P,)`."""
    space = granted.space
    numbers = (records - space.mean.to(records)) / space.std.to(records)
    charge = LENGTH * numbers.square().flatten(1).mean(1)
    if space.kind == "picture":
        charge = charge + SMOOTHNESS * total_variation(records, granted)
    if not granted.batch_norm:
        return charge
    slots = seen.slots.to(records.device)
    rounds = torch.arange(len(slots), device=records.device)
    known = ((problems // restarts)[:, None] * len(slots) + rounds).flatten()
    gap = mismatch(granted, records[:, slots].flatten(0, 1), known)
    return charge + STATISTICS * gap.view(len(records), len(slots)).mean(1)


def _apart(numbers: Tensor, restarts: int) -> Tensor:
    """Slope of the group consistency of all problems, `(P, R, *shape)`."""
    group = numbers.view(-1, restarts, *numbers.shape[1:])
    mean = group.mean(1, keepdim=True).expand_as(group)
    if restarts > 1 and numbers.dim() == 5:
        mean = _shifted(group.flatten(0, 2), mean.flatten(0, 2)).view_as(group).mean(1, keepdim=True)
    apart: Tensor = 2.0 * AGREEMENT * (group - mean).flatten(0, 1) / numbers[0].numel()
    return apart


def _shifted(pictures: Tensor, towards: Tensor) -> Tensor:
    """Each picture `(n, C, H, W)` moved to where it correlates most with another, by at most a few pixels."""
    height, width = pictures.shape[-2:]
    far = min(_FARTHEST, (height - 1) // 2, (width - 1) // 2)
    product = torch.fft.rfft2(towards) * torch.fft.rfft2(pictures).conj()
    likeness = torch.fft.irfft2(product, s=(height, width)).sum(1)
    likeness = likeness.roll((far, far), (1, 2))[:, : 2 * far + 1, : 2 * far + 1]
    place = likeness.flatten(1).argmax(1)
    down, across = place // (2 * far + 1) - far, place % (2 * far + 1) - far
    rows = (torch.arange(height, device=pictures.device) - down[:, None]) % height
    columns = (torch.arange(width, device=pictures.device) - across[:, None]) % width
    each = torch.arange(len(pictures), device=pictures.device)[:, None, None]
    return pictures.permute(0, 2, 3, 1)[each, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)
