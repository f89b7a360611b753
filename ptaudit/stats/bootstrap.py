"""Means over records with intervals: the one bootstrap behind every number of a run.

The interval is the bootstrap-t interval (Efron and Tibshirani 1993, ch. 12.5), widened to at least the normal one with
a t quantile. Coverage of nominal 95 % intervals at n = 60, 250, 1000 in 6,000 simulations, in per cent:

    values          percentile    normal, t quantile    bootstrap-t    the wider end of the last two
    Gaussian        94  94  95    95  95  95            95  95  95     95  95  96
    Student-t(3)    94  94  95    96  95  95            93  93  94     96  95  95
    log-normal      90  93  94    90  93  95            93  94  94     94  96  96

Percentile and normal intervals fall short on skewed values, bootstrap-t alone on heavy tails (and at n = 60 it depends
on the resamples: 91 to 93 %); the wider end costs 2 to 9 % of median width over bootstrap-t.
"""

from __future__ import annotations

import functools
import hashlib

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from ptaudit.stats.binomial import at_ceiling, rule_of_three
from ptaudit.stats.estimate import OK, Estimate, inconclusive
from ptaudit.stats.simultaneous import Z

Array = NDArray[np.float64]

DRAWS = 1000
_AT_ONCE = 100
_TAILS = (0.025, 0.975)
_FLOOR = 0.25
"""Least standard error of a resample, as a share of the sample's: one that misses the few odd records has none."""


def of_low_rank(draws: Array, n: int) -> Array:
    """Draws as they may leave the process: of rank at most n/2 for n records, with the same mean and spread.

    Draws are linear in the scores of single records, so n of them with known weights give every score. Of rank n/2 they
    leave half of the numbers open to somebody who knows all weights; who does not have the records knows none, since
    the seed of the resamples is made from them. Rows over the same records are mixed alike, so that replicate b of all
    rows still belongs together.

    Args:
        draws: `(..., B)`, replicates along the last axis.
        n: records behind them.
    """
    count = draws.shape[-1]
    rank = max(2, n // 2)
    if rank >= count:
        return draws
    centre = draws.mean(-1, keepdims=True)
    mixed = (draws[..., : rank - 1] - centre) @ _mixing(rank - 1, count)
    spread, now = (some.std(-1, keepdims=True) for some in (draws, mixed))
    scaled: Array = centre + mixed * np.divide(spread, now, out=np.zeros_like(spread), where=now > 0.0)
    return scaled


@functools.lru_cache(maxsize=4)
def _mixing(rank: int, count: int) -> Array:
    """Normal numbers `(rank, count)`, rows summing to 0; always the same."""
    mixing = np.random.default_rng([rank, count]).standard_normal((rank, count))
    mixing -= mixing.mean(1, keepdims=True)
    return mixing


@functools.lru_cache(maxsize=4)
def resample_weights(n: int, draws: int, seed: int, stream: int = 0) -> Array:
    """Weights of n records in bootstrap resamples: multinomial counts over n.

    Args:
        n: number of records.
        draws: number of resamples.
        seed: the audit's seed; the same (n, draws, seed, stream) gives the same resamples.
        stream: another number for another sample of the same size that is resampled independently.

    Returns:
        Read-only array (draws, n), rows summing to 1; a record's weights of all draws lie side by side.
    """
    generator = np.random.default_rng([seed, n, stream])
    weights = np.empty((n, draws))
    for start in range(0, draws, _AT_ONCE):
        size = min(_AT_ONCE, draws - start)
        place = generator.integers(n, size=(n, size)) * size + np.arange(size)
        weights[:, start : start + size] = np.bincount(place.ravel(), minlength=n * size).reshape(n, size) / n
    weights.flags.writeable = False
    return weights.T


def from_values(per_record: Array, *, null: float, ceiling: float, seed: int, extra_variance: float = 0.0) -> Estimate:
    """The mean of per-record values with its interval and bootstrap draws.

    Args:
        per_record: (n,) values, one a record, in the metric's unit.
        null: mean of the same game with the secret shuffled.
        ceiling: the largest value of the game, NaN if none.
        seed: the audit's seed.
        extra_variance: variance of the mean that is not due to the records (games drawn, subsampling).

    Returns:
        An unclipped estimate; `inconclusive` for fewer than two records or values that are not finite. If every record
        is at the ceiling the lower end is at most ceiling · (1 − 3/n).
    """
    return from_matrix(per_record[None], null=null, ceiling=ceiling, seed=seed, extra_variance=extra_variance)[0]


def from_matrix(
    per_record: Array,
    *,
    null: ArrayLike,
    ceiling: ArrayLike,
    seed: int,
    draws: int = DRAWS,
    extra_variance: ArrayLike = 0.0,
) -> list[Estimate]:
    """`from_values` for many rows over the same records.

    Args:
        per_record: (rows, n).
        null: a number, or one a row; `ceiling` and `extra_variance` likewise.
        ceiling: see `from_values`.
        seed: the audit's seed.
        draws: number of bootstrap resamples.
        extra_variance: see `from_values`.

    Returns:
        One estimate a row.
    """
    values = np.asarray(per_record, dtype=np.float64)
    rows, n = values.shape
    nulls, ceilings, extra = (np.broadcast_to(np.asarray(x, np.float64), rows) for x in (null, ceiling, extra_variance))
    usable = np.array([n > 1 and bool(np.isfinite(row).all()) for row in values], dtype=bool)
    if not usable.any():
        return [_unusable(float(top), n) for top in ceilings]
    weights = resample_weights(n, draws, seed)
    safe = np.where(usable[:, None], values, 0.0)
    mean = safe.mean(axis=1)
    lo, hi, replicates = _intervals(safe, mean, weights)
    lo = mean - np.hypot(mean - lo, Z * np.sqrt(extra))
    hi = mean + np.hypot(hi - mean, Z * np.sqrt(extra))
    estimates = []
    for r in range(rows):
        if not usable[r]:
            estimates.append(_unusable(float(ceilings[r]), n))
            continue
        low, top = float(lo[r]), float(ceilings[r])
        if at_ceiling(safe[r], top):
            low = min(low, rule_of_three(top, n))
        drawn = replicates[r] + np.sqrt(extra[r]) * _noise(safe[r], draws, seed) if extra[r] > 0 else replicates[r]
        number = float(mean[r])
        estimates.append(Estimate(number, low, float(hi[r]), float(nulls[r]), top, n, OK, drawn))
    return estimates


def _intervals(values: Array, mean: Array, weights: Array) -> tuple[Array, Array, Array]:
    """Lower and upper ends (rows,) and draws (rows, draws); see the head of this file."""
    n = values.shape[1]
    centred = values - mean[:, None]
    deviation = centred @ weights.T
    variance = (centred**2).mean(axis=1)
    resampled = centred**2 @ weights.T - deviation**2
    error = np.sqrt(np.maximum(resampled, _FLOOR**2 * variance[:, None]) / (n - 1))
    pivot = np.divide(deviation, error, out=np.zeros_like(deviation), where=error > 0)
    low, high = np.quantile(pivot, _TAILS, axis=1)
    least = float(stats.t.ppf(_TAILS[1], n - 1))
    scale = np.sqrt(variance / (n - 1))
    lo = mean - np.maximum(high, least) * scale
    hi = mean - np.minimum(low, -least) * scale
    return lo, hi, mean[:, None] + deviation


def _noise(values: Array, draws: int, seed: int) -> Array:
    """Standard Gaussian draws that depend on the values alone: independent between rows and between runs."""
    # Rounded, so that the last bit of a sum, which threads may change, does not draw other noise.
    digest = hashlib.sha256((np.round(values, 6) + 0.0).tobytes()).digest()
    return np.random.default_rng([seed, *digest]).standard_normal(draws)


def _unusable(ceiling: float, n: int) -> Estimate:
    reason = "values that are not finite" if n > 1 else f"{n} record gives no interval"
    return inconclusive(reason, ceiling=ceiling, n=n)
