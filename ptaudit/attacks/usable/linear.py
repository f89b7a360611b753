"""Linear predictors: multinomial logistic regression for classes, ridge regression for numbers.

Sees what a hyperplane separates, and nothing of an XOR. The path runs from a strong penalty to a weak one.

Logistic regression is fitted by accelerated steps of the quadratic bound on its loss (Boehning, Annals of the Institute
of Statistical Mathematics 44, 1992): the Hessian is at most half the scatter of the tokens. In the axes of that scatter
the bound is diagonal, so a step costs two matrix products, for all problems at once and at every penalty.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ptaudit.attacks.usable.family import Family, direction, plain

PENALTIES = (1.0, 0.3, 0.1, 0.03, 0.01, 1e-3, 1e-4)
"""Half the factor of the squared weights, beside the mean loss of a row; coordinates have variance 1."""

STEPS = (4, 4, 5, 6, 7, 8, 10)
"""Steps at each penalty, from where the one before it ended: the weaker, the slower they converge."""


def logistic_path(
    known: Tensor, secrets: Tensor, unseen: Tensor, generator: torch.Generator | None = None, effort: int = 1
) -> Tensor:
    """Log-probabilities `(V, H, P, m, C)`; see `family.Path`. With an effort of 100 the fits have converged."""
    versions, n, classes = secrets.shape
    axes, scatter = _axes(known)
    seen, met = _with_one(known @ axes), _with_one(unseen @ axes)
    bound = torch.cat([scatter / 2.0, scatter.new_full((len(scatter), 1), 0.5)], 1)[:, None]
    penalised = torch.ones_like(bound)
    penalised[..., -1] = 0.0
    # Rows of the data lie in the last dimension: there softmax runs along memory.
    truth = secrets.mT.reshape(1, versions * classes, n)
    weights = known.new_zeros(len(known), versions * classes, seen.shape[-1])
    weights[..., -1] = ((secrets.sum(1) + 1.0) / (n + classes)).log().flatten()
    found, ahead, speed = [], weights, 1.0
    for penalty, steps in zip(PENALTIES, STEPS):
        cost = penalty * penalised
        for _ in range(effort * steps):
            p = torch.unflatten(ahead @ seen.mT, 1, (versions, classes)).softmax(2).flatten(1, 2)
            slope = (p.sub_(truth) @ seen).div_(n).add_(cost * ahead)
            stepped = ahead - slope / (bound + cost)
            # Nesterov's momentum, kept from one penalty to the next.
            faster = (1.0 + (1.0 + 4.0 * speed * speed) ** 0.5) / 2.0
            ahead = stepped + (speed - 1.0) / faster * (stepped - weights)
            weights, speed = stepped, faster
        found.append(torch.unflatten(weights @ met.mT, 1, (versions, classes)).log_softmax(2))
    return torch.stack(found).permute(2, 0, 1, 4, 3)


def ridge_path(known: Tensor, secrets: Tensor, unseen: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """Means `(V, H, P, m, s)`; see `family.Path`."""
    versions, n, _ = secrets.shape
    axes, scatter = _axes(known)
    seen, met = known @ axes, unseen @ axes
    mean = secrets.mean(1, keepdim=True)
    aim = seen.mT @ (secrets - mean).permute(1, 0, 2).flatten(1) / n
    found = [met @ (aim / (scatter[..., None] + penalty)) for penalty in PENALTIES]
    means = torch.unflatten(torch.stack(found), -1, (versions, -1)).permute(3, 0, 1, 2, 4)
    return means + mean[:, None, None]


def _axes(known: Tensor) -> tuple[Tensor, Tensor]:
    """Principal axes `(P, d, d)` as columns, and the variances along them `(P, d)`."""
    values, axes = torch.linalg.eigh(known.mT @ known / known.shape[1])
    return axes, values.clamp_min(0.0)


def _with_one(tokens: Tensor) -> Tensor:
    return torch.nn.functional.pad(tokens, (0, 1), value=1.0)


FAMILY = Family((plain, direction), logistic_path, ridge_path, len(PENALTIES))
