"""How far records are from the boundary of their class: DeepFool (Moosavi-Dezfooli et al., arXiv 1511.04599, alg. 2).

Every step goes to the nearest of the boundaries between a record's own class and its rivals, as if the model were
linear there; for a linear model the first step arrives: |margin| / ||w||. Rivals are the classes of the highest scores.
Where a record is already on the other side, it is the way back, with a minus.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ptaudit.errors import ModelError
from ptaudit.gradients.frozen_state import frozen_state, without_gradients
from ptaudit.model_input import call

STEPS = 5
RIVALS = 5
"""Classes that are looked at in each step."""

FAR = 1e9
"""Distance of a record where no rival's score changes with the input."""


def boundary_distances(model: nn.Module, inputs: Tensor, labels: Tensor, steps: int = STEPS) -> Tensor:
    """Signed Euclidean distances in units of the inputs, which are not kept in any range.

    Args:
        model: (b, ...) -> (b, C) scores of classes before the softmax; of two classes also (b,) or (b, 1), that of the
            second against the first. In evaluation mode records do not depend on each other. Left as found.
        inputs: `(b, ...)`, decimal numbers.
        labels: `(b,)`, from 0.
        steps: of DeepFool; of a linear model one is enough.

    Returns:
        `(b,)`, positive on the right side.

    Raises:
        ModelError: the model does not give scores of classes.
    """
    start = inputs.detach()
    with frozen_state(model, inputs.device), without_gradients(model):
        gap, slope = _nearest(model, start.clone(), labels)
        sign, far, now = gap.sign(), slope.flatten(1).norm(dim=1) == 0, start - _step(gap, slope)
        for _ in range(steps - 1):
            now = now - _step(*_nearest(model, now, labels))
    distance = torch.where(far, FAR, (now - start).flatten(1).norm(dim=1))
    return (sign * distance).detach()


def _step(gap: Tensor, slope: Tensor) -> Tensor:
    """From a linear boundary's far side to it, `(b, ...)`; none where there is no slope."""
    size = slope.flatten(1).square().sum(1)
    length = torch.where(size > 0, gap / size.clamp_min(torch.finfo(gap.dtype).tiny), 0.0)
    return length.reshape(-1, *[1] * (slope.dim() - 1)) * slope


def _nearest(model: nn.Module, inputs: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """How much the own class is above the rival of the nearest boundary, and its slope: `(b,)` and `(b, ...)`."""
    inputs = inputs.requires_grad_()
    gaps = _gaps(call(model, inputs), labels)
    found: list[tuple[Tensor, Tensor]] = []
    for gap in gaps.T:
        (slope,) = torch.autograd.grad(gap.sum(), inputs, retain_graph=True)
        found.append((gap.detach(), slope))
    ratio = torch.stack([gap / slope.flatten(1).norm(dim=1).clamp_min(1e-30) for gap, slope in found])
    best, here = ratio.argmin(0), torch.arange(len(inputs), device=inputs.device)
    return gaps.detach().T[best, here], torch.stack([slope for _, slope in found])[best, here]


def _gaps(scores: object, labels: Tensor) -> Tensor:
    """Scores of the own class less those of its nearest rivals by score, `(b, R)`."""
    if not isinstance(scores, Tensor) or scores.dim() > 2:
        raise ModelError("the model does not return one score for each class", where="adversarial-distance")
    if scores.dim() == 1 or scores.shape[1] == 1:
        scores = torch.stack([torch.zeros_like(scores.flatten()), scores.flatten()], 1)
    own = scores.gather(1, labels[:, None])
    rivals = scores.scatter(1, labels[:, None], -torch.inf)
    return own - rivals.topk(min(RIVALS, scores.shape[1] - 1), dim=1).values
