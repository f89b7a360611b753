"""What the rest of a record tells of one of its fields: the guess without the gradient.

For each record by a model that was not fitted on it. Logistic regression and boosted trees are compared and calibrated
on held-out ones among the other records, and the better one answers.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

Array = NDArray[np.float64]

FOLDS = 4
HELD_OUT = 0.25
"""Share of the known records on which the models are compared and calibrated."""

MANY = 5000
"""Records from which on larger models are tried too."""

SLOPES = tuple(2.0 ** (i / 2.0) for i in range(-6, 3))
SHARES = (1e-4, 1e-3, 3e-3, 0.01, 0.03, 0.1, 0.3, 1.0)
"""Calibrations of a model's log-probabilities: their slope, and a share of the frequencies."""


def impute(inputs: Array, secret: NDArray[np.int64], seed: int = 0) -> Array:
    """Probability of every value of a field from the other fields.

    Args:
        inputs: the record without the field, with what else is known of it (its label), `(N, d)`.
        secret: value of the field, `(N,)`, 0..A-1; negative where it is missing: such a record is answered for, but
            teaches nothing.
        seed: of folds and models.

    Returns:
        `(N, A)`, rows summing to 1, every value possible.

    Raises:
        ValueError: for fewer known records than folds.
    """
    known = np.flatnonzero(secret >= 0)
    if len(known) < 2 * FOLDS:
        raise ValueError(f"needs {2 * FOLDS} records with a value, has {len(known)}")
    values = int(secret.max()) + 1
    generator = np.random.default_rng(seed)
    fold = generator.permutation(np.arange(len(secret)) % FOLDS)
    found = np.empty((len(secret), values))
    for out in range(FOLDS):
        mine = generator.permutation(known[fold[known] != out])
        found[fold == out] = _answers(inputs[mine], secret[mine], inputs[fold == out], values, seed)
    return found


def predict(known: Array, secret: NDArray[np.int64], asked: Array, values: int, seed: int = 0) -> Array:
    """The same for records that are none of the known ones.

    Args:
        known: known records, `(n, d)`.
        secret: value of their field, `(n,)`; negative where it is missing.
        asked: the records in question, `(N, d)`.
        values: number of values A.
        seed: of the models.

    Returns:
        `(N, A)`.
    """
    there = np.random.default_rng(seed).permutation(np.flatnonzero(secret >= 0))
    return _answers(known[there], secret[there], asked, values, seed)


def _answers(known: Array, secret: NDArray[np.int64], asked: Array, values: int, seed: int) -> Array:
    """Answers of the better model, fitted again on all known records."""
    cut = int(len(known) * (1.0 - HELD_OUT))
    count: Array = np.bincount(secret, minlength=values).astype(np.float64) + 1.0
    frequencies = count / count.sum()
    best: tuple[float, Any, tuple[float, float]] = (np.inf, None, (1.0, 1.0))
    for model in _models(seed, cut) if len(np.unique(secret[:cut])) > 1 else []:
        guess = _probabilities(model.fit(known[:cut], secret[:cut]), known[cut:], values)
        for slope in SLOPES:
            for share in SHARES:
                right = _calibrated(guess, slope, share, frequencies)[np.arange(len(guess)), secret[cut:]]
                best = min(best, (float(-np.log(right).mean()), model, (slope, share)), key=lambda one: one[0])
    _, model, calibration = best
    if model is None:
        return np.tile(frequencies, (len(asked), 1))
    guess = _probabilities(model.fit(known, secret), asked, values)
    return _calibrated(guess, *calibration, frequencies)


def _models(seed: int, records: int) -> Sequence[Any]:
    lines = [make_pipeline(StandardScaler(), LogisticRegression(C=c, max_iter=100, tol=1e-3)) for c in (0.01, 0.1)]
    trees = HistGradientBoostingClassifier(max_iter=30, learning_rate=0.2, max_leaf_nodes=8, random_state=seed % 2**32)
    many = HistGradientBoostingClassifier(max_iter=150, learning_rate=0.1, max_leaf_nodes=24, random_state=seed % 2**32)
    return [*lines, trees, *([many] if records >= MANY else [])]


def _probabilities(model: Any, inputs: Array, values: int) -> Array:
    """Of all values, also of those that no known record has."""
    out = np.zeros((len(inputs), values))
    out[:, model.classes_] = model.predict_proba(inputs)
    return out


def _calibrated(guess: Array, slope: float, share: float, frequencies: Array) -> Array:
    sharp = np.maximum(guess, 1e-12) ** slope
    mixed: Array = (1.0 - share) * sharp / sharp.sum(1, keepdims=True) + share * frequencies
    return mixed
