"""Early warning: from what is known by an epoch, which records end highly vulnerable?

The final label of a record comes from one half of a fleet, what it is foretold from from the other (`halves`; scores of
a half must be made with references of that half alone). Labels and features then share no model, and the noise of few
models cannot foretell itself. Labels of half a fleet are noisy, so that no forecast reaches AUC 1. What the final risk
in the half of the features says of them, the agreement of the halves, is what a forecast is held against. It has the
noise of few models itself: who foretells from something steadier, like the loss in models without the record, gets
above it (Location30, 16 models a half, a fifth of the training: with LiRA's offline scores AUC 0.84 where the halves
agree by 0.79, with BaVarIA's, which spread less by chance, 0.93 and 0.91). So what could be reached stands beside it
(`attainable`).

The combined forecast is a logistic regression on the normal scores of the features' ranks, fitted on four fifths of the
records and reported on the fifth, as ranks within it: regressions of different folds have each seen what the other is
asked of, so that without a signal their odds compare below a guess (mean AUC 0.48 with one feature and 320 records, of
which 32 are vulnerable; ranks give 0.50). Beside it stands each feature alone, on the side that does better in the
other folds. Intervals are over records: features, labels and what was fitted are given.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from ptaudit.stats.bootstrap import DRAWS
from ptaudit.stats.dynamics.attainable import attainable_auc
from ptaudit.stats.dynamics.top_share import precision_at
from ptaudit.stats.estimate import Estimate, inconclusive
from ptaudit.stats.roc import auc, auc_estimate
from ptaudit.stats.simultaneous import simultaneous_bounds

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]
Features = Mapping[str, Array]

SHARE = 0.01
"""Share of all records among which precision is reported."""

GOOD_AUC, GOOD_SHARE = 0.85, 0.9
"""A forecast is good enough at this AUC, or at this share of a ceiling."""

MIN_VULNERABLE = 20
"""Fewest records of either label."""

_FOLDS = 5
_HALVES, _FOLDED = 21, 22


@dataclass(frozen=True)
class Forecast:
    """A forecast from what is known by one epoch.

    Attributes:
        auc: of the combined forecast, of vulnerable records against others; null 1/2.
        precision: share of vulnerable records among the 1 % that it puts first; null = their share of all.
        single_auc: of each feature alone.
        single_precision: of each feature alone.
        gain: AUC of the combined forecast less that of the best feature; ceiling 1/2.
    """

    auc: Estimate
    precision: Estimate
    single_auc: dict[str, Estimate]
    single_precision: dict[str, Estimate]
    gain: Estimate

    @property
    def beats_each(self) -> bool:
        """Whether the combined forecast is better than every feature alone."""
        return self.gain.conclusive and self.gain.lo > 0.0


@dataclass(frozen=True)
class EarlyWarning:
    """Forecasts from what is known by each epoch.

    Attributes:
        epochs: (E,).
        forecasts: one an epoch.
        agreement_auc: of the final risk in the half that features come from, for the labels of the other.
        agreement_precision: likewise.
        attainable_auc: of who knows the true risk (see `attainable`).
        first: the first epoch at which the AUC is 0.85 or 90 % of the agreement: the lower end of bounds that hold for
            all epochs at once is, and is above 1/2. None where there is none, or the halves may not agree at all.
        first_of_attainable: the first at which it is 0.85 or 90 % of what is attainable, likewise.
    """

    epochs: Array
    forecasts: tuple[Forecast, ...]
    agreement_auc: Estimate
    agreement_precision: Estimate
    attainable_auc: Estimate
    first: float | None
    first_of_attainable: float | None


def halves(models: int, *, seed: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Two disjoint halves of a fleet, as indices of models; models 0 and 1, 2 and 3, ... stay together.

    They are trained on complements (`training.fleet.assignment`), so that each record is in half of either half.

    Raises:
        ValueError: for an odd number of models, or fewer than four.
    """
    if models % 2 or models < 4:
        raise ValueError(f"halves of a fleet need an even number of models from 4 on, not {models}")
    pairs = np.random.default_rng([seed, models, _HALVES]).permutation(models // 2)
    cut = len(pairs) // 2
    one, other = (np.sort(np.concatenate([2 * some, 2 * some + 1])) for some in (pairs[:cut], pairs[cut:]))
    return one, other


def most_vulnerable(risk: Array, share: float = 0.1) -> Mask:
    """The share of records (n,) with the highest risk, rounded up; among equals the first."""
    wanted = np.zeros(len(risk), dtype=np.bool_)
    wanted[np.argsort(-risk, kind="stable")[: math.ceil(share * len(risk) - 1e-9)]] = True
    return wanted


def early_warning(
    features: Mapping[float, Features], vulnerable: Mask, final_risk: Array, *, seed: int, draws: int = DRAWS
) -> EarlyWarning:
    """Forecasts at E epochs.

    Args:
        features: by epoch, ascending, (n,) by name; from one half of the fleet or from the audited run.
        vulnerable: (n,), labels from the other half.
        final_risk: (n,), in the half that the features come from; where they come from no fleet, any half but that of
            the labels.
        seed: of folds and resamples.
        draws: number of resamples.

    Raises:
        ValueError: for features that do not fit.
    """
    if not features:
        raise ValueError("a forecast needs features of one epoch at least")
    epochs = np.array(list(features), dtype=np.float64)
    forecasts = tuple(forecast(known, vulnerable, seed=seed, draws=draws) for known in features.values())
    agreement, precision = _judged(final_risk, vulnerable, seed, draws)
    attainable = attainable_auc(agreement, float(vulnerable.mean())) if agreement.conclusive else agreement
    first, of_attainable = (
        _first(epochs, [one.auc for one in forecasts], ceiling) for ceiling in (agreement, attainable)
    )
    return EarlyWarning(epochs, forecasts, agreement, precision, attainable, first, of_attainable)


def forecast(features: Features, vulnerable: Mask, *, seed: int, draws: int = DRAWS) -> Forecast:
    """The combined forecast of labels (n,) and each feature alone, (n,) by name.

    Inconclusive for fewer than `MIN_VULNERABLE` records of either label.

    Raises:
        ValueError: for no features, or some that are not n finite numbers, all of them named.
    """
    wrong = [name for name, x in features.items() if x.shape != vulnerable.shape or not np.isfinite(x).all()]
    if wrong or not features:
        raise ValueError(f"features must be {len(vulnerable)} finite numbers, {', '.join(wrong) or 'there are none'}")
    judged = {
        name: _judged(_on_its_better_side(x, vulnerable, seed), vulnerable, seed, draws) for name, x in features.items()
    }
    odds = cross_fitted(features, vulnerable, seed=seed)
    combined, precision = _judged(_within_folds(odds, _folds(vulnerable, seed)), vulnerable, seed, draws)
    single_auc = {name: one for name, (one, _) in judged.items()}
    single_precision = {name: one for name, (_, one) in judged.items()}
    return Forecast(combined, precision, single_auc, single_precision, _gain(combined, list(single_auc.values())))


def cross_fitted(features: Features, vulnerable: Mask, *, seed: int) -> Array:
    """Log-odds (n,) of each record by a regression that was fitted on others; 0 where a label has too few records."""
    from sklearn.linear_model import LogisticRegression

    n = len(vulnerable)
    if _too_few(vulnerable):
        return np.zeros(n)
    ranks = np.stack([stats.rankdata(x) for x in features.values()], axis=1)
    x = stats.norm.ppf((ranks - 0.5) / n)
    odds = np.empty(n)
    folds = _folds(vulnerable, seed)
    for fold in range(_FOLDS):
        own = folds == fold
        fitted = LogisticRegression(max_iter=1000).fit(x[~own], vulnerable[~own])
        odds[own] = fitted.decision_function(x[own])
    return odds


def _folds(vulnerable: Mask, seed: int) -> NDArray[np.int64]:
    """Fold of each record, as many vulnerable ones in each."""
    generator = np.random.default_rng([seed, len(vulnerable), _FOLDED])
    folds = np.empty(len(vulnerable), dtype=np.int64)
    for label in (False, True):
        own = np.flatnonzero(vulnerable == label)
        folds[generator.permutation(own)] = np.arange(len(own)) % _FOLDS
    return folds


def _within_folds(scores: Array, folds: NDArray[np.int64]) -> Array:
    """Place of each score among those of its fold, from 0 to 1."""
    placed = np.empty(len(scores))
    for fold in np.unique(folds):
        own = folds == fold
        placed[own] = (stats.rankdata(scores[own]) - 0.5) / own.sum()
    return placed


def _too_few(vulnerable: Mask) -> str | None:
    yes, no = int(vulnerable.sum()), int((~vulnerable).sum())
    if min(yes, no) < MIN_VULNERABLE:
        return f"needs {MIN_VULNERABLE} records that end vulnerable, and as many that do not, there are {yes} and {no}"
    return None


def _judged(scores: Array, vulnerable: Mask, seed: int, draws: int) -> tuple[Estimate, Estimate]:
    """AUC and precision."""
    if why := _too_few(vulnerable):
        lost = inconclusive(why, ceiling=1.0, n=len(vulnerable))
        return lost, lost
    found = auc_estimate(scores[vulnerable], scores[~vulnerable], seed=seed, draws=draws)
    return found, precision_at(scores, vulnerable, SHARE, seed=seed, draws=draws)


def _on_its_better_side(feature: Array, vulnerable: Mask, seed: int) -> Array:
    """Centred ranks of a feature, turned round in each fold where the other folds say so."""
    ranks = stats.rankdata(feature) - (len(feature) + 1) / 2
    if _too_few(vulnerable):
        return ranks
    folds, turned = _folds(vulnerable, seed), np.empty(len(ranks))
    for fold in range(_FOLDS):
        own, other = folds == fold, folds != fold
        better = auc(ranks[other & vulnerable], ranks[other & ~vulnerable]) >= 0.5
        turned[own] = ranks[own] if better else -ranks[own]
    return turned


def _gain(combined: Estimate, singles: list[Estimate]) -> Estimate:
    if not combined.conclusive:
        return combined
    best = max(one.value for one in singles)
    drawn = _draws(combined) - np.max([_draws(one) for one in singles], axis=0)
    value, (low, high) = combined.value - best, np.quantile(drawn, [0.025, 0.975])
    return Estimate(value, min(float(low), value), max(float(high), value), 0.0, 0.5, combined.n, draws=drawn)


def _first(epochs: Array, found: list[Estimate], ceiling: Estimate) -> float | None:
    if not all(one.conclusive for one in [*found, ceiling]) or ceiling.lo <= 0.5:
        return None
    values, draws = np.array([one.value for one in found]), np.stack([_draws(one) for one in found])
    lower, _ = simultaneous_bounds(values, draws)
    good = (lower >= min(GOOD_AUC, GOOD_SHARE * ceiling.value)) & (lower > 0.5)
    return float(epochs[good.argmax()]) if good.any() else None


def _draws(one: Estimate) -> Array:
    return one.draws if one.draws is not None else np.full(1, one.value)
