"""Bits and hits of a posterior over classes, chosen and calibrated on other folds than the reported one."""

from __future__ import annotations

import torch
from torch import Tensor

from ptaudit.attacks.calibration import COARSE, FINE, Calibration, calibrated_gain, mean_bits, shifted, top_hit
from ptaudit.attacks.discriminant import class_prior
from ptaudit.attacks.usable.folds import Folds


def play(answers: Tensor, secret: Tensor, folds: Folds) -> tuple[Tensor, Tensor]:
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
        calibration, bits = _calibrate(mean_bits(trial[best, every], prior, secret[theirs], FINE))
        scores = answers[best, every][:, mine][:, :, folds.others(fold)].mean(2) - prior.log().to(answers)
        low = shifted(scores)
        scored[0][:, mine] = calibrated_gain(low, prior, calibration, secret[mine])
        slope = torch.where(calibration.share < 1.0, calibration.slope, 0.0)
        scored[1][:, mine] = top_hit(slope[:, None, None] * low + prior.log(), secret[mine])
        chosen_bits.append(bits)
    return scored, torch.stack(chosen_bits, 1)


def _calibrate(bits: Tensor) -> tuple[Calibration, Tensor]:
    """The best slope and share of every row, from `(L, slopes, shares)`, and its bits."""
    slopes, shares = (bits.new_tensor(values) for values in (FINE.slopes, FINE.shares))
    top, place = bits.flatten(1).max(1)
    return Calibration(slopes[place // len(shares)], shares[place % len(shares)]), top
