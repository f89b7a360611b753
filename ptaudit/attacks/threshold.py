"""Membership scores of a record, higher for members, and what is calibrated on labelled records of the other half."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import expit, ndtri
from scipy.stats import rankdata
from torch import Tensor

from ptaudit.attacks.densities import sub_token
from ptaudit.attacks.nuisance_density import NuisanceDensity, fit_student, log_density
from ptaudit.stats.roc import best_cut

Array = NDArray[np.float64]

LIKELIHOOD_DIM = 64
"""Coordinates of the token that the gradient likelihood looks at: a scatter needs several records for each."""

_NU = 3.0
_NEWTON_STEPS = 50
_NEWTON_TOLERANCE = 1e-8


@dataclass(frozen=True)
class GradientLikelihood:
    """Student-t likelihood ratio of a token: members against non-members, fitted on labelled tokens."""

    members: NuisanceDensity
    others: NuisanceDensity
    coordinates: Tensor

    def score(self, tokens: Tensor) -> Tensor:
        """Log-likelihood ratios, `(R, n, k)` -> `(R, n)`."""
        seen = tokens[..., self.coordinates]
        return _log_likelihood(self.members, seen) - _log_likelihood(self.others, seen)


def fit_gradient_likelihood(members: Tensor, others: Tensor) -> GradientLikelihood:
    """Fit both densities by M-estimation, on tokens `(R, n, k)` each."""
    k = members.shape[-1]
    coordinates = sub_token(k, min(k, LIKELIHOOD_DIM))
    one, two = (fit_student(tokens[..., coordinates], upto=_NU)[-1] for tokens in (members, others))
    return GradientLikelihood(one, two, coordinates)


def _log_likelihood(density: NuisanceDensity, points: Tensor) -> Tensor:
    distance_sq = density.whiten(points - density.mean[:, None]).square().sum(-1)
    log_det = density.factor.diagonal(dim1=-2, dim2=-1).log().sum(-1, keepdim=True)
    return log_density(distance_sq, _NU, points.shape[-1]) - log_det


@dataclass(frozen=True)
class Calibrated:
    """Scores made comparable and turned into a posterior on one half of the records.

    Attributes:
        reference: sorted scores of the calibrating half, members and non-members.
        line: intercept and slope of the log-odds of membership in the normal score.
        cut: normal score with the best balanced accuracy on the calibrating half.
    """

    reference: Array
    line: tuple[float, float]
    cut: float

    def normal_score(self, scores: Array) -> Array:
        """The normal quantile of the score's rank among the calibrating half: monotone, so no order is changed."""
        below = np.searchsorted(self.reference, scores, "left")
        upto = np.searchsorted(self.reference, scores, "right")
        return np.asarray(ndtri((0.5 * (below + upto) + 0.5) / (len(self.reference) + 1.0)))

    def bits(self, scores: Array, member: NDArray[np.bool_]) -> Array:
        """Bits of each record over the guess one half: 1 + log2 q(truth)."""
        odds = self.line[0] + self.line[1] * self.normal_score(scores)
        return np.asarray(1.0 + np.log2(expit(np.where(member, odds, -odds)).clip(1e-6)))


def calibrate(scores: Array, member: NDArray[np.bool_]) -> Calibrated:
    """Fit the posterior, at even odds, and the threshold on one half; `member` says which scores are members'."""
    reference = np.sort(scores)
    quantile = np.asarray(ndtri(rankdata(scores) / (len(scores) + 1.0)))
    return Calibrated(reference, log_odds(quantile, member), best_cut(quantile, member))


def log_odds(scores: Array, member: NDArray[np.bool_]) -> tuple[float, float]:
    """Logistic regression on one score at even odds, with a unit Gaussian prior on the slope: intercept and slope.

    By Newton's method. The weight of a record is n / (2 * records of its side), as scikit-learn's "balanced".
    """
    weight = np.where(member, 0.5 / member.mean(), 0.5 / (1.0 - member.mean()))
    columns = np.stack([np.ones_like(scores), scores])
    found, penalty = np.zeros(2), np.array([0.0, 1.0])
    for _ in range(_NEWTON_STEPS):
        p = expit(found @ columns)
        gradient = columns @ (weight * (p - member)) + penalty * found
        hessian = (columns * (weight * p * (1.0 - p))) @ columns.T + np.diag(penalty)
        step = np.linalg.solve(hessian + 1e-9 * np.eye(2), gradient)
        found -= step
        if np.abs(step).max() < _NEWTON_TOLERANCE:
            break
    return float(found[0]), float(found[1])


def shuffled_halves(n: int, generator: torch.Generator) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Two random halves of n records."""
    order = torch.randperm(n, generator=generator).numpy()
    return order[: n // 2], order[n // 2 : 2 * (n // 2)]
