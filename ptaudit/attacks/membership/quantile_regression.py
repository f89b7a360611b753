"""Quantile regression: a threshold of its own for each record, without reference models (Bertran et al., 2307.03694).

What a model says of records it never saw is foretold from what anybody knows of them: their inputs and labels. The
paper fits every quantile of that distribution, or a Gaussian; here it is a Gaussian, whose mean and variance are
regressions on held-out records. A record is called a member where it is above the quantile of those like it.

Each of the two regressions is the best, by cross-validation on the same held-out records, of a constant, a ridge
regression and boosted trees: where nothing can be foretold, the attack is one threshold for all.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.special import logsumexp
from sklearn.dummy import DummyRegressor
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.linear_model import RidgeCV
from sklearn.model_selection import PredefinedSplit, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from ptaudit.attacks.membership.signals import Array, References, Signals, given

FEWEST = 10
"""Records that must be known not to be members."""

_FOLDS = 5
_PENALTIES = tuple(10.0**power for power in range(-1, 6))
_LEAST = 1e-3
"""Squares of residuals are told apart down to this share of their mean: their logarithms are then bounded below."""


def score(target: Signals, references: References | None) -> Array:
    """How far the confidence is above what held-out records like it have, in their spread, `(n,)`.

    It is the normal score of the level of the quantile that the record just reaches. Those it is fitted on are the
    records of `known_outside`; their own scores are not for reporting.

    Raises:
        ValueError: fewer than `FEWEST` records are known not to be members.
    """
    known, seen = given(target.known_outside), given(target.features)
    if known.sum() < FEWEST:
        raise ValueError(f"needs {FEWEST} records that are known not to be members, there are {int(known.sum())}")
    own = np.flatnonzero(known)
    own = own[np.argsort(target.confidence[own], kind="stable")]  # so that the order of the records changes nothing
    x, y = seen[own], target.confidence[own]
    mean, fitted = _regression(x, y, seen)
    squares = np.square(y - fitted)
    squares = np.maximum(squares, max(_LEAST * float(squares.mean()), np.finfo(np.float64).tiny))
    log_variance, fitted = _regression(x, np.log(squares), seen)
    # A logarithm's mean is below the logarithm of the mean: squares are to have mean 1 in units of the variance.
    bias = logsumexp(np.log(squares) - fitted) - np.log(len(squares))
    return np.asarray((target.confidence - mean) * np.exp(-0.5 * (log_variance + bias)))


def _regression(x: Array, y: Array, asked: Array) -> tuple[Array, Array]:
    """What is foretold of all that are asked, and of each known record by who did not see it.

    Args:
        x: features of the known records, `(k, F)`.
        y: what is to be foretold, `(k,)`.
        asked: features of all records, `(n, F)`.

    Returns:
        `(n,)` and `(k,)`.
    """
    folds = PredefinedSplit(np.arange(len(x)) % _FOLDS)
    tried = [(model, np.asarray(cross_val_predict(model, x, y, cv=folds))) for model in _models()]
    best, apart = min(tried, key=lambda pair: float(np.square(y - pair[1]).mean()))
    return np.asarray(best.fit(x, y).predict(asked)), apart


def _models() -> tuple[Any, ...]:
    trees = HistGradientBoostingRegressor(
        max_iter=60, learning_rate=0.08, max_leaf_nodes=8, min_samples_leaf=20, early_stopping=False, random_state=0
    )
    return DummyRegressor(), make_pipeline(StandardScaler(), RidgeCV(_PENALTIES)), trees
