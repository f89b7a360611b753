"""A defender's own probe: a linear softmax that guesses from a gradient which value of a secret its batch has."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from sklearn.linear_model import LogisticRegression

_FREEDOMS = (0.1, 10.0, 1000.0)
"""Inverse penalties that are tried, for gradients of root mean square length 1."""


@dataclass(frozen=True, eq=False)
class Probe:
    """A linear softmax probe of whole gradients.

    Attributes:
        weight: `(K, d)`.
        bias: `(K,)`.
    """

    weight: Tensor
    bias: Tensor

    def scores(self, gradients: Tensor) -> Tensor:
        """Class scores `(G, K)` of gradients `(G, d)`."""
        return torch.addmm(self.bias, gradients, self.weight.T)

    def uphill(self, gradients: Tensor) -> Tensor:
        """Along which the cross-entropy for the present guess grows fastest, `(G, d)`, each of length 1.

        Zero where it grows nowhere.
        """
        scores = self.scores(gradients)
        guess = scores.argmax(1, keepdim=True)
        # The loss's gradient is softmax(scores) - guess, of vanishing length where the probe is sure; this is its
        # direction among the other classes, which keeps its digits.
        toward = scores.scatter(1, guess, -torch.inf).softmax(1).scatter(1, guess, -1.0)
        way = toward @ self.weight
        unit: Tensor = way / way.norm(dim=1, keepdim=True).clamp_min(torch.finfo(way.dtype).tiny)
        return unit


def fit_probe(gradients: Tensor, secrets: Tensor) -> Probe:
    """Logistic regression in the n coordinates that n gradients span: the same solution, whatever d is.

    The penalty is chosen on every third of them. Time grows with n squared times d: some hundred batches will do.

    Args:
        gradients: mean gradients of batches, `(n, d)`.
        secrets: the secret of each, `(n,)`, int64.

    Returns:
        One that moves nothing, where they do not differ, or all have the same secret. Those that are not finite (of
        local steps that diverged) are left out.
    """
    finite = gradients.isfinite().all(1)
    gradients, secrets = gradients[finite], secrets[finite.cpu()]
    mean = gradients.mean(0)
    centred = gradients - mean
    if len(torch.unique(secrets)) < 2 or float(centred.norm()) <= 1e-6 * float(gradients.norm()):
        return Probe(gradients.new_zeros(2, gradients.shape[1]), gradients.new_zeros(2))
    values, vectors = torch.linalg.eigh((centred @ centred.T).double())
    there = values > 1e-6 * values[-1]
    root = values[there].sqrt()
    scale = float((values.sum() / len(values)).sqrt())  # the size of a gradient, so that penalties have a meaning
    points = (vectors[:, there] * root / scale).cpu().numpy()
    classes = int(secrets.max()) + 1
    model = _chosen(points, secrets.numpy())
    weight, bias = np.zeros((classes, points.shape[1])), np.full(classes, -np.inf)  # never guessed if unseen
    binary = len(model.classes_) == 2
    weight[model.classes_] = np.concatenate([-model.coef_, model.coef_]) / 2 if binary else model.coef_
    bias[model.classes_] = np.concatenate([-model.intercept_, model.intercept_]) / 2 if binary else model.intercept_
    back = (vectors[:, there] / root).to(gradients)  # coordinates are centred gradients times this, over the scale
    found = torch.from_numpy(weight).to(gradients) @ (centred.T @ back).T / scale
    return Probe(found, torch.from_numpy(bias).to(gradients) - found @ mean)


def _chosen(points: NDArray[np.float64], secrets: NDArray[np.int64]) -> LogisticRegression:
    """The one whose penalty guesses best on every third point, fitted on all."""
    out = np.arange(len(points)) % 3 == 2
    hits = []
    if len(np.unique(secrets[~out])) > 1:
        hits = [_regression(points[~out], secrets[~out], free).score(points[out], secrets[out]) for free in _FREEDOMS]
    return _regression(points, secrets, _FREEDOMS[int(np.argmax(hits))] if hits else 1.0)


def _regression(points: NDArray[np.float64], secrets: NDArray[np.int64], free: float) -> LogisticRegression:
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # a direction that nearly fits will do
        return LogisticRegression(C=free, max_iter=200).fit(points, secrets)
