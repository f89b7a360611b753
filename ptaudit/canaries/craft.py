"""The search for records that their secret moves furthest: signed, projected gradient steps and coordinate search."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ptaudit.canaries.gradient_sensitivity import GradientSensitivity
from ptaudit.canaries.space import Space

ROUNDS = 3
"""Most times that numbers and fields are searched in turn; it ends where a round gains nothing."""
STEPS = 20
"""Gradient steps in a round."""
_FIRST, _LAST = 0.5, 0.01
"""Length of the first and the last step, as a share of an input's range."""
_GAIN = 1e-6


@dataclass(frozen=True)
class Search:
    """Records on their way: the best seen so far of each.

    Attributes:
        inputs: `(n, ...)`.
        targets: `(n, ...)`.
        distance: `(n,)`.
    """

    inputs: Tensor
    targets: Tensor
    distance: Tensor

    def better(self, inputs: Tensor, targets: Tensor, distance: Tensor) -> Search:
        """Of each record the better one: only a gain beyond rounding counts."""
        won = distance > self.distance * (1.0 + _GAIN)
        return Search(
            torch.where(_wide(won, inputs), inputs, self.inputs),
            torch.where(_wide(won, targets), targets, self.targets),
            torch.where(won, distance, self.distance),
        )


def _wide(which: Tensor, like: Tensor) -> Tensor:
    return which.view(-1, *(1,) * (like.dim() - 1))


def craft(start: Search, labels: Tensor, space: Space, sensitivity: GradientSensitivity) -> Search:
    """Records that are at least as far as those it starts from; the secret's own inputs stay as they are.

    Args:
        start: where to start.
        labels: targets that each record may have, `(L, n, ...)`.
        space: what may be chosen.
        sensitivity: what is to be large.
    """
    best = start
    for _ in range(ROUNDS):
        before = best.distance
        best = _numbers(best, space, sensitivity)
        best = _fields(best, space, sensitivity)
        best = _labels(best, labels, sensitivity)
        if not bool((best.distance > before * (1.0 + _GAIN)).any()):
            break
    return best


def _numbers(best: Search, space: Space, sensitivity: GradientSensitivity) -> Search:
    """Steps of shrinking length along the sign of the slope, put back into the range after each (Madry et al. 2018)."""
    if not bool(space.free.any()):
        return best
    width, inputs = space.high - space.low, best.inputs
    for step in range(STEPS):
        length = _FIRST * (_LAST / _FIRST) ** (step / (STEPS - 1))
        slope, distance = sensitivity.slopes(inputs, best.targets)
        best = best.better(inputs, best.targets, distance)
        inputs = space.nearest(inputs, inputs + length * width * slope.nan_to_num().sign())
    return best.better(inputs, best.targets, sensitivity.distances(inputs, best.targets))


def _fields(best: Search, space: Space, sensitivity: GradientSensitivity) -> Search:
    """Every field in turn with every value it may have, the others held."""
    for field in space.fields:
        tried = field.put(best.inputs)
        values = len(tried)
        targets = best.targets.repeat(values, *(1,) * (best.targets.dim() - 1))
        distance = sensitivity.distances(tried.flatten(0, 1), targets).view(values, -1)
        top, place = distance.max(0)
        best = best.better(tried[place, torch.arange(len(place))], best.targets, top)
    return best


def _labels(best: Search, labels: Tensor, sensitivity: GradientSensitivity) -> Search:
    for label in labels:
        best = best.better(best.inputs, label, sensitivity.distances(best.inputs, label))
    return best
