"""Membership scores of a record, higher for members, and what is calibrated on labelled records of the other half."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import ndtri
from scipy.stats import rankdata
from sklearn.linear_model import LogisticRegression
from torch import Tensor

from ptaudit.adversaries.interference import Interference, fit_student, log_density
from ptaudit.adversaries.likelihood_ratio import sub_token

Array = NDArray[np.float64]

LIKELIHOOD_DIM = 64
"""Coordinates of the token that the gradient likelihood looks at: a scatter needs several records for each."""

_NU = 3.0


@dataclass(frozen=True)
class GradientLikelihood:
    """Student-t likelihood ratio of a token: members against non-members, fitted on labelled tokens."""

    members: Interference
    others: Interference
    coordinates: Tensor

    def score(self, tokens: Tensor) -> Tensor:
        """Log-likelihood ratios, `(R, n, k)` -> `(R, n)`."""
        seen = tokens[..., self.coordinates]
        return _log_likelihood(self.members, seen) - _log_likelihood(self.others, seen)


def fit_gradient_likelihood(members: Tensor, others: Tensor) -> GradientLikelihood:
    """Fit both densities by M-estimation, on tokens `(R, n, k)` each."""
    k = members.shape[-1]
    coordinates = sub_token(k, min(k, LIKELIHOOD_DIM))
    fits = [next(f for f in fit_student(t[..., coordinates]) if f.tails == (_NU,)) for t in (members, others)]
    return GradientLikelihood(fits[0], fits[1], coordinates)


def _log_likelihood(density: Interference, points: Tensor) -> Tensor:
    distance_sq = density.whiten(points - density.mean[:, None]).square().sum(-1)
    log_det = density.factor.diagonal(dim1=-2, dim2=-1).log().sum(-1, keepdim=True)
    return log_density(distance_sq, _NU, points.shape[-1]) - log_det


@dataclass(frozen=True)
class Calibrated:
    """Scores made comparable and turned into a posterior on one half of the records.

    Attributes:
        reference: sorted scores of the calibrating half, members and non-members.
        model: probability of membership from the normal score.
        cut: normal score with the best balanced accuracy on the calibrating half.
    """

    reference: Array
    model: LogisticRegression
    cut: float

    def normal_score(self, scores: Array) -> Array:
        """The normal quantile of the score's rank among the calibrating half: monotone, so no order is changed."""
        below = np.searchsorted(self.reference, scores, "left")
        upto = np.searchsorted(self.reference, scores, "right")
        return np.asarray(ndtri((0.5 * (below + upto) + 0.5) / (len(self.reference) + 1.0)))

    def bits(self, scores: Array, member: NDArray[np.bool_]) -> Array:
        """Bits of each record over the guess one half: 1 + log2 q(truth)."""
        p = self.model.predict_proba(self.normal_score(scores)[:, None])[:, 1]
        return np.asarray(1.0 + np.log2(np.where(member, p, 1.0 - p).clip(1e-6)))


def calibrate(scores: Array, member: NDArray[np.bool_]) -> Calibrated:
    """Fit the posterior, at even odds, and the threshold on one half; `member` says which scores are members'."""
    reference = np.sort(scores)
    quantile = np.asarray(ndtri(rankdata(scores) / (len(scores) + 1.0)))
    model = LogisticRegression(C=1.0, class_weight="balanced").fit(quantile[:, None], member)
    return Calibrated(reference, model, _best_cut(quantile, member))


def _best_cut(scores: Array, member: NDArray[np.bool_]) -> float:
    """The threshold with the largest TPR - FPR; `score > cut` says member."""
    order = np.argsort(scores, kind="stable")
    ranked, is_member = scores[order], member[order]
    tpr = 1.0 - np.cumsum(is_member) / is_member.sum()
    fpr = 1.0 - np.cumsum(~is_member) / (~is_member).sum()
    last_of_tie = np.append(np.diff(ranked) > 0, True)
    return float(ranked[np.where(last_of_tie, tpr - fpr, -np.inf).argmax()])


def shuffled_halves(n: int, generator: torch.Generator) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Two random halves of n records."""
    order = torch.randperm(n, generator=generator).numpy()
    return order[: n // 2], order[n // 2 : 2 * (n // 2)]
