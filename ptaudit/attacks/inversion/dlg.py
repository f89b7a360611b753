"""DLG, deep leakage from gradients (Zhu et al., arXiv 1906.08935, algorithm 1).

Dummy records and dummy labels (scores through a softmax) start as noise and are moved by L-BFGS until their gradient is
the one that is seen, by squared distance. Labels that the threat model grants are not searched for.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ptaudit.attacks.inversion.lbfgs import minimise
from ptaudit.attacks.inversion.linear_layers import typical
from ptaudit.attacks.inversion.matching import Clock, Matching, Variables, chosen, squared
from ptaudit.attacks.inversion.messages import Budget, Granted, Reconstruction, SharedGradients
from ptaudit.gradients.agreement import ERRORS
from ptaudit.gradients.record_losses import per_record
from ptaudit.progress import Progress


def why_not(seen: SharedGradients, granted: Granted) -> str:
    """Why dummy labels cannot be searched for."""
    if granted.labels is not None:
        return ""
    if granted.space.classes is None:
        return "the targets are numbers, which have to be known"
    x = typical(granted.space, 2, granted.device)
    soft = torch.full((2, granted.space.classes), 1.0 / granted.space.classes, device=x.device)
    try:
        with torch.no_grad():
            per_record(granted.loss, granted.model(x), soft)
    except ERRORS:
        return "the loss takes no dummy labels, so that labels have to be known"
    return ""


def rebuild(
    seen: SharedGradients, granted: Granted, budget: Budget, generator: torch.Generator, progress: Progress
) -> Reconstruction:
    """See `messages.Rebuild`."""
    matching = Matching.of(seen, granted, budget.restarts, squared, granted.labels)
    start = matching.start(generator, seen.records)

    def unpacked(points: Tensor) -> Variables:
        sizes = [variable[0].numel() for variable in start]
        parts = torch.split(points, sizes, 1)
        return [part.reshape(-1, *variable.shape[1:]) for part, variable in zip(parts, start)]

    def evaluate(problems: Tensor, points: Tensor) -> tuple[Tensor, Tensor]:
        values, slopes = matching.slopes(problems, unpacked(points))
        return values, _packed(slopes)

    with Clock(budget, progress, "rebuilding by dlg", budget.iterations) as clock:
        points, values = minimise(evaluate, _packed(start), budget.iterations, clock)
        return chosen(matching, values, unpacked(points), clock)


def _packed(variables: Variables) -> Tensor:
    return torch.cat([variable.flatten(1) for variable in variables], 1)
