"""From evidence about every candidate to calibrated probabilities, learned on games that the attacker plays alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from redteam_world import Array, Index
from scipy.optimize import minimize
from sklearn.ensemble import HistGradientBoostingClassifier

NEGATIVES = 15
"""Wrong candidates of each game that the ratio of likelihoods is learned from."""

LEAST = 1e-12

MOST = 1e3
"""Distances are cut off at so many times their usual size."""

RIDGE = 1e-3
"""Penalty on squared weights: where several scores tell all, none becomes extreme."""


@dataclass(frozen=True)
class Evidence:
    """G games about K candidates each.

    Attributes:
        learned: statistics of every candidate, `(G, K, F)`: what they say is learned.
        direct: distances that are log-likelihoods up to a factor, `(G, K, D)`; D may be 0.
        prior: probability of every candidate without the gradient, `(G, K)`.
        secret: the true one, `(G,)`.
        unit: the record or user that is asked about, `(G,)`.
    """

    learned: Array
    direct: Array
    prior: Array
    secret: Index
    unit: Index


@dataclass(frozen=True)
class Posterior:
    """Gradient boosting on the statistics of single candidates, then a softmax over the candidates of a game.

    Attributes:
        trees: tell true candidates from wrong ones: by the algebra alone, and by distances too where there are any.
        weights: of the log-odds of the trees, and of distances and their logarithms.
        mixture: share of the prior that is mixed in.
        scale: usual size of each distance.
    """

    trees: list[Any]
    weights: Array
    mixture: float
    scale: Array

    def __call__(self, games: Evidence) -> Array:
        """Probabilities, `(G, K)`."""
        return _mixed(_scores(self.trees, games, self.scale), games.prior, self.weights, self.mixture)


def fit_posterior(fit: Evidence, calibrate: Evidence, seed: int = 0) -> Posterior:
    """Learn from some games what statistics say, and from others how far to trust it."""
    scale = np.array([np.median(one) for one in np.moveaxis(fit.direct, 2, 0)]) + 1e-300
    trees = _trees(fit, seed)
    weights, mixture = fit_mixture(
        _scores(trees, calibrate, scale), calibrate.prior, np.eye(calibrate.prior.shape[1])[calibrate.secret]
    )
    return Posterior(trees, weights, mixture, scale)


def fit_mixture(scores: Array, prior: Array, truth: Array) -> tuple[Array, float]:
    """Weights of several scores, all at least 0, and the share of the prior, of least cross-entropy.

    Args:
        scores: of every answer, `(G, K, S)`.
        prior: of every answer, `(G, K)`.
        truth: probability of every answer given all, `(G, K)`: 1 for the true one, where there is one.
    """
    least = 1.0 / (len(truth) + 1)

    def loss(x: Array) -> float:
        q = _mixed(scores, prior, np.exp(x[:-1]), least + (1.0 - least) / (1.0 + np.exp(-x[-1])))
        return float(-(truth * np.log(q + 1e-300)).sum(1).mean() + RIDGE * np.exp(2.0 * x[:-1]).sum())

    size = scores.shape[2]
    alone = [np.append(np.where(np.arange(size) == j, high, -9.0), -4.0) for j in range(size) for high in (-2.0, 0.0)]
    best = min(alone, key=loss)
    starts = [np.maximum(best, -4.0), np.append(np.full(size, -1.0 - np.log(size)), -4.0)]
    bounds = [(-12.0, 4.0)] * size + [(-12.0, 12.0)]
    found = [minimize(loss, x, method="L-BFGS-B", bounds=bounds, options={"maxiter": 40}).x for x in starts]
    x = min([*found, best, np.append(np.full(size, -9.0), 4.0)], key=loss)
    return np.exp(x[:-1]), float(least + (1.0 - least) / (1.0 + np.exp(-x[-1])))


def _mixed(scores: Array, prior: Array, weights: Array, mixture: float) -> Array:
    logits = scores @ weights + np.log(prior + LEAST)
    logits -= logits.max(1, keepdims=True)
    q = np.exp(logits)
    return (1.0 - mixture) * q / q.sum(1, keepdims=True) + mixture * prior


def _scores(trees: list[Any], games: Evidence, scale: Array) -> Array:
    """Log-odds of the trees, then distances and their logarithms, larger for likelier candidates."""
    found = []
    for one, x in zip(trees, _features(games)):
        odds = one.decision_function(x.reshape(-1, x.shape[2])).reshape(x.shape[:2])
        found.append(odds[..., None])
    if games.direct.shape[2]:
        found += [-np.minimum(games.direct / scale, MOST), -np.log1p(games.direct)]
    return np.concatenate(found, 2)


def _features(games: Evidence) -> list[Array]:
    """What trees are grown on, `(G, K, features)` each: the algebra, and with the distances."""
    plain = [games.learned] if games.learned.shape[2] else []
    if games.direct.shape[2]:
        plain.append(np.concatenate([*plain, np.log1p(games.direct)], 2))
    return [_with_ranks(one) for one in plain]


def _with_ranks(x: Array) -> Array:
    """The statistics themselves, and how far each is from the least and the median of the game's candidates."""
    x = np.clip(x, -1e12, 1e12)
    return np.concatenate([x, x - x.min(1, keepdims=True), x - np.median(x, 1, keepdims=True)], 2)


def _trees(games: Evidence, seed: int) -> list[Any]:
    rng = np.random.default_rng(seed)
    count, k = games.prior.shape
    wrong = np.stack([rng.permutation(k - 1)[:NEGATIVES] for _ in range(count)])
    wrong += wrong >= games.secret[:, None]
    rows, found = np.arange(count), []
    for x in _features(games):
        right, others = x[rows, games.secret], x[rows[:, None], wrong].reshape(-1, x.shape[2])
        trees = HistGradientBoostingClassifier(
            max_iter=120, learning_rate=0.08, max_leaf_nodes=15, l2_regularization=1.0, random_state=seed
        )
        target = np.repeat([1, 0], [len(right), len(others)])
        found.append(trees.fit(np.concatenate([right, others]), target))
    return found
