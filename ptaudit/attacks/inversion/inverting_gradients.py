"""Inverting gradients (Geiping et al., arXiv 2003.14053, eq. 4): the angle to what is seen, and total variation.

The length of a gradient tells how well a record is learned, its direction what the record is. Adam follows the sign of
the slope; its rate falls to a tenth after 3/8, 5/8 and 7/8 of the iterations. Labels are known, or read from the last
layer beforehand.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from ptaudit.attacks.inversion import labels
from ptaudit.attacks.inversion.descent import Descent
from ptaudit.attacks.inversion.matching import Clock, Matching, chosen, cosine
from ptaudit.attacks.inversion.messages import Budget, Granted, Reconstruction, SharedGradients
from ptaudit.progress import Progress

SMOOTHNESS = 1e-2
"""Weight of total variation, of pictures in units of the spread of their pixels."""


def steps(share: float) -> float:
    """A tenth of the rate after each of 3/8, 5/8 and 7/8 of the iterations."""
    return 0.1 ** sum(share >= part for part in (3 / 8, 5 / 8, 7 / 8))


DESCENT = Descent(0.1, steps, torch.sign)


def why_not(seen: SharedGradients, granted: Granted) -> str:
    """Why labels are neither known nor to be read."""
    return "" if granted.labels is not None else labels.why_not(seen, granted)


def rebuild(
    seen: SharedGradients, granted: Granted, budget: Budget, generator: torch.Generator, progress: Progress
) -> Reconstruction:
    """See `messages.Rebuild`."""
    known = labels.recover(seen, granted) if granted.labels is None else granted.labels
    matching = Matching.of(seen, granted, budget.restarts, cosine, known)
    if granted.space.kind == "picture":
        matching = replace(matching, penalty=lambda records, _: SMOOTHNESS * total_variation(records, granted))
    start = [matching.within_bounds(variable) for variable in matching.start(generator, seen.records)]
    with Clock(budget, progress, "rebuilding by inverting-gradients", budget.iterations) as clock:
        values, variables = DESCENT.minimise(matching, start, budget.iterations, clock, generator)
        return chosen(matching, values, variables, clock)


def total_variation(records: Tensor, granted: Granted) -> Tensor:
    """Mean absolute difference of neighbouring pixels, in units of their spread, `(P, R, C, H, W)` -> `(P,)`."""
    pictures = records / granted.space.std.to(records)
    down, across = (pictures.diff(dim=side).abs().flatten(1).mean(1) for side in (-2, -1))
    return down + across
