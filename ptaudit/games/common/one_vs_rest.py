"""The comparisons that an AUC and a low-FPR power judge: "the secret is v", once for each value v of the secret.

The score of a comparison is the log-ratio of posterior to prior of v, compared between games whose secret is v and
games whose secret is not, never within a game: who says the same of every game then only ties. (A true value against a
wrong one of the same game, drawn from the prior without it, would give the constant answer "the most frequent value" an
AUC far above one half.) Two values make one comparison, the log-odds of 1 against 0.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import stats
from torch import Tensor

from ptaudit.games.common.batches import Answers
from ptaudit.games.common.resampling_units import ResamplingUnits
from ptaudit.stats.binomial import clopper_pearson
from ptaudit.stats.bootstrap import DRAWS, resample_weights
from ptaudit.stats.estimate import Estimate, inconclusive
from ptaudit.stats.roc import MIN_FALSE_POSITIVES, auc_influence, tpr_at_fpr_estimate

Array = NDArray[np.float64]
OneVsRest = tuple[Array, NDArray[np.bool_]]
"""Scores of a comparison, `(P, G)`, and in which games it is true, `(G,)`."""

LEAST_TARGETS = 5
"""Fewest targets (games where there are none) with and without a value, in each half, for its comparison to be
judged."""

_ROUNDING = 1e-9


def one_vs_rest_of(ratio: Tensor, secret: Tensor) -> list[OneVsRest]:
    """The comparisons about log-ratios of posterior to prior `(P, G, K)`: one for K = 2, else one for each value."""
    if ratio.shape[-1] == 2:
        return [((ratio[..., 1] - ratio[..., 0]).numpy(), (secret == 1).numpy())]
    return [(ratio[..., value].numpy(), (secret == value).numpy()) for value in range(ratio.shape[-1])]


def weights_of(halves: Sequence[Answers], resampling_units: Sequence[ResamplingUnits]) -> Array:
    """Weight of each comparison: the prior of its value, 0 where the games with or without it are too few in a half."""
    every = torch.cat([half.batches.prior for half in halves]).double().cpu()
    values = every.shape[1]
    if values == 2:
        return np.ones(1)
    weights: Array = every.mean(0).numpy().copy()
    for half, resampled in zip(halves, resampling_units):
        unit = (torch.arange(len(resampled.secret)) if resampled.unit is None else resampled.unit).numpy()
        for secret in (resampled.secret.numpy(), half.wrong.cpu().numpy()):
            for value in range(values):
                sides = (len(np.unique(unit[side])) for side in (secret == value, secret != value))
                weights[value] *= min(sides) >= LEAST_TARGETS
    return weights / weights.sum() if weights.any() else weights


def placements(comparisons: Sequence[OneVsRest], weights: Array) -> Tensor:
    """Values of every game whose mean is the weighted mean of the comparisons' AUCs, `(P, G)`.

    Their spread is its error (DeLong's structural components). NaN where no comparison can be judged.
    """
    scores, true = comparisons[0]
    found = np.zeros_like(scores) if weights.any() else np.full_like(scores, np.nan)
    for (scores, true), weight in zip(comparisons, weights):
        if weight:
            found += weight * _placed(scores, true)
    return torch.from_numpy(found)


def _placed(scores: Array, true: NDArray[np.bool_]) -> Array:
    found = np.full(scores.shape, np.nan)
    if true.any() and not true.all():
        for line, (one, two) in enumerate(zip(scores[:, true], scores[:, ~true])):
            above, below = auc_influence(one, two)
            found[line] = value = above.mean()
            found[line, true] += (above - value) * (true.size / len(one))
            found[line, ~true] += (below - value) * (true.size / len(two))
    return found


def power(comparisons: Sequence[OneVsRest], line: int, fpr: float, seed: int) -> Estimate:
    """True-positive rate at a false-positive rate, of games that share nobody.

    With one comparison `roc.tpr_at_fpr_estimate`. With more each value has a threshold of its own, the lowest that at
    most a share `fpr` of the games without the value pass, and the rate is the share of all games that pass that of
    their secret. The interval adds in squares the exact binomial one of the games, and how the rate moves if the
    thresholds, all at once, let through as few or as many games as chance may have made of this share (95 %).

    `inconclusive` where a secret that occurs has fewer than 5 / `fpr` games without it.
    """
    if len(comparisons) == 1:
        scores, true = comparisons[0]
        negatives = "games without the secret"
        return tpr_at_fpr_estimate(scores[line, true], scores[line, ~true], fpr, seed=seed, without=negatives)
    games = comparisons[0][1].size
    asked = [(scores[line], true) for scores, true in comparisons if true.any()]
    fewest = min((int((~true).sum()) for _, true in asked), default=0)
    if fewest * fpr < MIN_FALSE_POSITIVES - _ROUNDING:
        needed = math.ceil(MIN_FALSE_POSITIVES / fpr - _ROUNDING)
        problem = f"FPR {fpr:g} needs {needed} games without each value, there are {fewest}"
        return inconclusive(problem, ceiling=1.0, n=games)
    few, allowed, many = (
        np.concatenate([_passed(*comparison, fpr, q) for comparison in asked]) for q in (0.025, None, 0.975)
    )
    value = float(allowed.mean())
    exact = clopper_pearson(int(allowed.sum()), games)
    lo = value - math.hypot(value - exact[0], value - float(few.mean()))
    hi = value + math.hypot(exact[1] - value, float(many.mean()) - value)
    spread = float(many.mean() - few.mean()) / (2.0 * float(stats.norm.ppf(0.975)))
    moved = np.random.default_rng([seed, games, round(1.0 / fpr)]).standard_normal(DRAWS)
    drawn = resample_weights(games, DRAWS, seed) @ allowed.astype(float) + spread * moved
    return Estimate(value, lo, hi, fpr, 1.0, games, draws=drawn).clipped(0.0, 1.0)


def _passed(scores: Array, true: NDArray[np.bool_], fpr: float, quantile: float | None) -> NDArray[np.bool_]:
    """Which games with the value score above all but so many of those without; equal scores are never split."""
    outside = -np.sort(-scores[~true])
    n = len(outside)
    passing = math.floor(n * fpr + _ROUNDING) if quantile is None else int(stats.binom.ppf(quantile, n, fpr))
    return np.asarray(scores[true] > outside[passing] if passing < n else np.ones(int(true.sum()), dtype=bool))
