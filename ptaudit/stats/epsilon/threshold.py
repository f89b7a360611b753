"""The threshold of an audit is a type: it comes from other games than the reported ones, or from before all games.

A score is HIGHER the more the game looks like H1; a score at or above the threshold says H1.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ptaudit.stats.epsilon.rates import error_rates, fingerprints, scores, upper

Criterion = Literal["clopper-pearson", "gaussian-dp"]

_CANDIDATES = 512


@dataclass(frozen=True)
class Judged:
    """What a threshold makes of reported games.

    Attributes:
        rates: joint upper ends of the false-positive and the false-negative rate.
        best: the same if no game had been judged wrong.
        games: their number.
    """

    rates: tuple[float, float]
    best: tuple[float, float]
    games: int


@dataclass(frozen=True)
class Threshold:
    """A threshold that does not depend on the games it is reported on.

    Made by `choose_threshold` from other games, or by `Threshold.fixed` before any (a log-likelihood ratio has 0).

    Attributes:
        value: scores at or above it say H1.
        source: how it was found, for the report.
        games: number of games it was chosen on, 0 for a fixed one.
    """

    value: float
    source: str
    games: int
    _seen: frozenset[str] = field(default=frozenset(), repr=False, compare=False)

    @classmethod
    def fixed(cls, value: float) -> Threshold:
        """A threshold known before any game was played.

        Raises:
            ValueError: it is not a number.
        """
        if np.isnan(value):
            raise ValueError("a threshold must be a number")
        return cls(float(value), "fixed", 0)

    def judge(self, h0: ArrayLike, h1: ArrayLike, confidence: float) -> Judged:
        """Error rates of reported games; see the bounds for the arguments.

        The very games this threshold was chosen on are refused: a whole row of scores that comes back is caught, in any
        order; a part of it is not.

        Raises:
            ValueError: NaN scores, or the games are the same.
        """
        zero, one = scores(h0, "H0"), scores(h1, "H1")
        if self._seen & fingerprints(zero, one):
            raise ValueError("the threshold was chosen on these very games: report others, or the bound does not hold")
        rates = error_rates(self.value, zero, one, confidence)
        best = float(upper(0, len(zero), confidence)), float(upper(0, len(one), confidence))
        return Judged(rates, best, len(zero) + len(one))


def choose_threshold(
    h0: ArrayLike,
    h1: ArrayLike,
    delta: float,
    criterion: Criterion = "clopper-pearson",
    confidence: float = 0.95,
) -> Threshold:
    """The threshold that would give the largest bound on these games, which must not be reported.

    Args:
        h0: scores of games under H0 (not a member; the first value of the attribute).
        h1: scores of games under H1.
        delta: of the epsilon that will be bounded.
        criterion: the bound it is for: the raw one gains at the ends, that by Gaussian DP in the middle.
        confidence: of the bound.

    Returns:
        The threshold. Without games of one kind no threshold is better than another: the median of what there is.

    Raises:
        ValueError: there is no game at all, scores are not rows of numbers, or the criterion is not known.
    """
    if criterion not in _GAIN:
        raise ValueError(f"criterion must be one of {', '.join(_GAIN)}, given {criterion}")
    zero, one = scores(h0, "H0"), scores(h1, "H1")
    pooled = np.sort(np.concatenate([zero, one]))
    if not len(pooled):
        raise ValueError("no games to choose a threshold on: use Threshold.fixed")
    steps = min(_CANDIDATES, len(pooled))
    candidates = np.unique(pooled[np.linspace(0, len(pooled) - 1, steps).round().astype(int)])
    fpr = upper(len(zero) - np.searchsorted(np.sort(zero), candidates), len(zero), confidence)
    fnr = upper(np.searchsorted(np.sort(one), candidates), len(one), confidence)
    gain = _GAIN[criterion](fpr, fnr, delta)
    best = np.flatnonzero(gain == gain.max())
    value = float(candidates[best[len(best) // 2]])
    return Threshold(value, f"chosen for {criterion}", len(pooled), fingerprints(zero, one))


def _raw_gain(fpr: NDArray[np.float64], fnr: NDArray[np.float64], delta: float) -> NDArray[np.float64]:
    """The larger of the two ratios whose logarithm is the raw bound."""
    return np.maximum((1 - delta - fnr) / fpr, (1 - delta - fpr) / fnr)


def _gaussian_gain(fpr: NDArray[np.float64], fnr: NDArray[np.float64], delta: float) -> NDArray[np.float64]:
    """The bound on mu."""
    from scipy.special import ndtri

    return np.asarray(-ndtri(fpr) - ndtri(fnr))


_GAIN: dict[str, Callable[[NDArray[np.float64], NDArray[np.float64], float], NDArray[np.float64]]] = {
    "clopper-pearson": _raw_gain,
    "gaussian-dp": _gaussian_gain,
}
