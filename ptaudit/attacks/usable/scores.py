"""What predictors are worth: bits about a secret that is a class or numbers, chosen and calibrated on other folds.

Of a class the posterior is calibrated, of numbers a Gaussian predictive; both on other folds than the reported one.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ptaudit.attacks.calibration import COARSE, FINE, best_point, calibrated_gain, mean_bits, shifted, top_hit
from ptaudit.attacks.discriminant import class_prior
from ptaudit.attacks.usable.folds import Folds

LEAST_VARIANCE = 1e-6
"""Smallest predictive variance, as a share of the prior's: about 11 bits a coordinate are the most that is reported."""

MOST_DIRECTIONS = 32
RECORDS_PER_DIRECTION = 20
"""Of a secret in many coordinates, the leading principal directions: no more than these allow."""


def of_classes(answers: Tensor, secret: Tensor, folds: Folds) -> tuple[Tensor, Tensor]:
    """Score every row.

    The predictor knows class frequencies and answers (1 - share) * p^slope + share * prior: share 1 is the prior, so a
    predictor that learned nothing gives 0 bits.

    Args:
        answers: log-probabilities, `(A, L, G, folds, C)`, see `folds.cross_predictions`.
        secret: `(G,)`.
        folds: of the rows.

    Returns:
        Bits and hits, `(2, L, G)`, and mean bits of the choice on the choosing folds, `(L, folds)`.
    """
    _, layers, n, _, classes = answers.shape
    scored, chosen_bits = answers.new_zeros(2, layers, n, dtype=torch.float64), []
    every = torch.arange(layers, device=answers.device)
    for fold in range(folds.count):
        mine = folds.fold == fold
        theirs = ~mine
        prior = class_prior(secret[theirs], classes)
        trial = answers[:, :, theirs, fold] - prior.log().to(answers)
        by_setting = mean_bits(trial.flatten(0, 1), prior, secret[theirs], COARSE).flatten(1).amax(1)
        best = by_setting.view(-1, layers).argmax(0)
        calibration, bits = best_point(mean_bits(trial[best, every], prior, secret[theirs], FINE), FINE)
        scores = answers[best, every][:, mine][:, :, folds.others(fold)].mean(2) - prior.log().to(answers)
        low = shifted(scores)
        scored[0][:, mine] = calibrated_gain(low, prior, calibration, secret[mine])
        slope = torch.where(calibration.share < 1.0, calibration.slope, 0.0)
        scored[1][:, mine] = top_hit(slope[:, None, None] * low + prior.log(), secret[mine])
        chosen_bits.append(bits)
    return scored, torch.stack(chosen_bits, 1)


def of_numbers(answers: Tensor, secret: Tensor, folds: Folds) -> tuple[Tensor, Tensor]:
    """Score every row.

    Without tokens the secret is Gaussian with the mean and covariance of the choosing folds. In its principal axes,
    scaled to variance 1, the predictive is Gaussian around the prediction, shrunk toward the prior mean coordinate by
    coordinate, with the full covariance of what is left on the choosing folds. It is the prior where the prediction
    gains less than its parameters cost (Akaike).

    Args:
        answers: means, `(A, L, G, folds, s)`, see `folds.cross_predictions`.
        secret: `(G, s)`, float64.
        folds: of the rows.

    Returns:
        Bits, `(1, L, G)`, and mean bits of the choice on the choosing folds, `(L, folds)`.
    """
    _, layers, n, _, _ = answers.shape
    scored, chosen_bits = secret.new_zeros(1, layers, n), []
    every = torch.arange(layers, device=answers.device)
    for fold in range(folds.count):
        mine = folds.fold == fold
        theirs = ~mine
        mean = secret[theirs].mean(0)
        axes = _whitening(secret[theirs] - mean)
        truth = (secret - mean) @ axes
        trial = (answers[:, :, theirs, fold].double() - mean) @ axes
        kept, left = _calibrate(trial, truth[theirs])
        bits = -0.5 * torch.logdet(left) / math.log(2.0)
        bits = torch.where(bits > _price(truth[theirs]), bits, 0.0)
        best = bits.argmax(0)
        met = (answers[best, every][:, mine][:, :, folds.others(fold)].double().mean(2) - mean) @ axes
        chosen, left = bits[best, every], left[best, every]
        gained = _gain(truth[mine], kept[best, every][:, None] * met, left)
        scored[0][:, mine] = torch.where(chosen[:, None] > 0.0, gained, 0.0)
        chosen_bits.append(chosen)
    return scored, torch.stack(chosen_bits, 1)


def _whitening(centred: Tensor) -> Tensor:
    """Axes `(s, r)` in which the rows have variance 1 and are uncorrelated, without directions of no variance."""
    variance, axes = torch.linalg.eigh(centred.T @ centred / len(centred))
    most = max(1, min(MOST_DIRECTIONS, len(centred) // RECORDS_PER_DIRECTION))
    variance, axes = variance.flip(0)[:most], axes.flip(1)[:, :most]
    real = variance > 1e-10 * variance[0]
    found: Tensor = axes[:, real] / variance[real].sqrt()
    return found


def _calibrate(trial: Tensor, truth: Tensor) -> tuple[Tensor, Tensor]:
    """Share of the prediction that is kept, `(A, L, r)`, and covariance of what is left, `(A, L, r, r)`."""
    kept = ((trial * truth).sum(-2) / trial.square().sum(-2).clamp_min(1e-300)).clamp(0.0, 1.0)
    rest = truth - kept[..., None, :] * trial
    variance, axes = torch.linalg.eigh(rest.mT @ rest / len(truth))
    left = (axes * variance.clamp_min(LEAST_VARIANCE)[..., None, :]) @ axes.mT
    return kept, left


def _price(truth: Tensor) -> float:
    """Bits a row that r factors and a covariance gain by chance."""
    n, r = truth.shape
    return (r + r * (r + 1) / 2) / (n * math.log(2.0))


def _gain(truth: Tensor, means: Tensor, left: Tensor) -> Tensor:
    """Bits of each row over the standard Gaussian: `(m, r)`, `(L, m, r)`, `(L, r, r)` -> `(L, m)`."""
    factor = torch.linalg.cholesky(left)
    white = torch.linalg.solve_triangular(factor, (truth - means).mT, upper=False)
    log_size = factor.diagonal(dim1=-2, dim2=-1).log().sum(-1, keepdim=True)
    gained: Tensor = (0.5 * (truth.square().sum(-1) - white.square().sum(-2)) - log_size) / math.log(2.0)
    return gained
