"""Adversarial perturbation: the gradient is moved so that a probe of the defender's guesses the secret wrong."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from ptaudit.defenses.base import Defense

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from sklearn.linear_model import LogisticRegression

_FREEDOMS = (0.1, 10.0, 1000.0)
"""Inverse penalties that are tried, for gradients of root mean square length 1."""


@dataclass(frozen=True)
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


@dataclass(frozen=True)
class Perturb(Defense):
    """Every gradient is moved a little along the direction that raises the probe's loss for its present guess.

    The direction is the gradient of the probe's cross-entropy with respect to its input, at length 1 (an L2 step as in
    Goodfellow et al., arXiv 1412.6572; as a defense of gradients in arXiv 2408.16913). The probe is the defender's: it
    is fitted on gradients of batches of her own records, and the adversary's may differ.

    Attributes:
        size: length of the change relative to the gradient's, at least 0.
        probe: what `fit` found; a defense without one defends nothing and cannot be called.
    """

    size: float
    probe: Probe | None = field(default=None, compare=False, repr=False)

    def __post_init__(self) -> None:
        if not self.size >= 0.0:
            raise ValueError(f"a size is at least 0, not {self.size}")

    def fit(self, gradients: Tensor, secrets: Tensor) -> Perturb:
        """The same with a probe fitted on the defender's gradients.

        The penalty is chosen on every third of them. Time grows with n squared times d: some hundred batches will do.
        Gradients that are not finite (of local steps that diverged) are left out; where the others do not differ, or
        all have the same secret, the probe moves nothing.

        Args:
            gradients: mean gradients of her batches, `(n, d)`, as `ReplayedSight.gradients` gives them.
            secrets: the secret of each, `(n,)`, int64.
        """
        return replace(self, probe=_fitted(gradients, secrets.cpu()))

    def __call__(self, gradients: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """See `Defense.__call__`."""
        if self.probe is None:
            raise RuntimeError("call fit() first")
        scores = self.probe.scores(gradients)
        guess = scores.argmax(1, keepdim=True)
        # The loss's gradient is softmax(scores) - guess, of vanishing length where the probe is sure; this is its
        # direction among the other classes, which keeps its digits.
        toward = scores.scatter(1, guess, -torch.inf).softmax(1).scatter(1, guess, -1.0)
        step = toward @ self.probe.weight
        length = step.norm(dim=1, keepdim=True).clamp_min(torch.finfo(step.dtype).tiny)
        moved: Tensor = gradients + step * (self.size * gradients.norm(dim=1, keepdim=True) / length)
        return moved

    def why_not(self, model: nn.Module, classes: int | None) -> str:
        """See `Defense.why_not`."""
        return "" if self.probe is not None else "the probe of the perturbation was never fitted"


def _fitted(gradients: Tensor, secrets: Tensor) -> Probe:
    """Logistic regression in the n coordinates that n gradients span: the same solution, whatever d is."""
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
