"""Published claims about membership over time, each decided from tables of fleets: pure functions of data frames.

A frame has the columns of `leakage.csv`, `data` (which run), `draws` (replicates for other records and models, or None)
and `held_out_error` with `held_out` records. Trainings of different runs are compared as if independent, which is
cautious where they share records.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator

import numpy as np
import pandas as pd
from claims_verdicts import FAILS, HOLDS, UNDECIDED, Finding, Interval, difference, interval, sign, text
from numpy.typing import NDArray
from scipy import stats

Array = NDArray[np.float64]

WIDE, SAM = "-wide", "-sam"
"""What runs are called that differ from the run of the same data in the network or in the optimizer."""

EARLY, KNOWN = 0.2, 0.7
"""Share of the training that is early, and of the finally exposed that are said to be so by then."""

TIMES = 3
"""How many times as far a wide residual network is said to move."""

_DRAWS = 2000
_CERTAIN = 0.05


def last(frame: pd.DataFrame, data: str, metric: str, **where: object) -> pd.Series | None:
    """The row of a run at its last epoch; None where there is no number."""
    rows = at_epoch(frame, data, metric, int(frame[frame.data == data].epoch.max()), **where)
    return rows


def at_epoch(frame: pd.DataFrame, data: str, metric: str, epoch: int, **where: object) -> pd.Series | None:
    """The row of a run at an epoch; None where there is no number."""
    rows = frame[(frame.data == data) & (frame.metric == metric) & (frame.epoch == epoch) & frame.value.notna()]
    for column, value in where.items():
        rows = rows[rows[column] == value]
    return None if rows.empty else rows.iloc[0]


def plain(frame: pd.DataFrame) -> list[str]:
    """Runs of the data sets, each with its usual network and optimizer."""
    return [name for name in dict.fromkeys(frame.data) if not name.endswith((WIDE, SAM))]


# The claims


def difficulty(frame: pd.DataFrame) -> list[Finding]:
    """Displacement and the change of entropy grow with the held-out error of the data set."""
    found = []
    for metric in ("displacement", "entropy_change"):
        rows = [row for name in plain(frame) if (row := last(frame, name, metric)) is not None]
        if len(rows) < 3:
            continue
        errors = np.array([row.held_out_error for row in rows])
        value, lo, hi, chance = rank_agreement(errors, [_error_draws(row) for row in rows], rows)
        verdict = HOLDS if lo > 0.0 and chance <= _CERTAIN else FAILS if hi < 0.0 else UNDECIDED
        figures = f"rank correlation {text((value, lo, hi))}, {chance:.3f} by chance"
        found.append(Finding(f"{len(rows)} data sets", metric, figures, verdict))
    return found


def rank_agreement(errors: Array, drawn: list[Array], rows: list[pd.Series]) -> tuple[float, float, float, float]:
    """Rank correlation of K errors with K values; its interval for other records and models of the same data sets, and
    how many of the K! orders of the values are as close to that of the errors."""
    values = np.array([row.value for row in rows])
    moved = np.stack([_independent(row.draws, place) for place, row in enumerate(rows)], axis=1)
    each = [_spearman(*pair) for pair in zip(np.stack(drawn, axis=1), moved)]
    value = _spearman(errors, values)
    orders = [_spearman(errors, values[list(order)]) for order in itertools.permutations(range(len(values)))]
    lo, hi = np.quantile(each, [0.025, 0.975])
    return value, min(float(lo), value), max(float(hi), value), float(np.mean(np.array(orders) >= value - 1e-9))


def _independent(draws: Array, place: int) -> Array:
    """Draws in an order of their own: those of all runs come from one seed."""
    return np.random.default_rng(place).choice(draws, _DRAWS)


def _spearman(x: Array, y: Array) -> float:
    return float(np.corrcoef(stats.rankdata(x), stats.rankdata(y))[0, 1])


def _error_draws(row: pd.Series) -> Array:
    """Errors on other held-out records."""
    wrong = round(row.held_out_error * row.held_out)
    generator = np.random.default_rng([wrong, int(row.held_out)])
    return generator.beta(wrong + 0.5, row.held_out - wrong + 0.5, _DRAWS)


def wide(frame: pd.DataFrame) -> list[Finding]:
    """A wide residual network moves more than three times as far as a shallow one."""
    found = []
    for name, one, other in _pairs(frame, "displacement", WIDE):
        figures = f"wide {text(interval(one))}, shallow {text(interval(other))}: {one.value / other.value:.2f} times"
        thrice = difference(interval(one), _times(TIMES, interval(other)))
        found.append(Finding(name, "displacement", figures, sign(thrice)))
    return found


def sam_peak(frame: pd.DataFrame) -> list[Finding]:
    """SAM lowers the peak transition."""
    return list(_of_sam(frame, "peak_transition", lower=True))


def sam_risk(frame: pd.DataFrame) -> list[Finding]:
    """With SAM more records end exposed."""
    return list(_of_sam(frame, "exposed", lower=False))


def _of_sam(frame: pd.DataFrame, metric: str, lower: bool) -> Iterator[Finding]:
    for name, one, other in _pairs(frame, metric, SAM):
        gain = difference(interval(one), interval(other))
        told = _times(-1, gain) if lower else gain
        yield Finding(name, metric, f"SAM {text(interval(one))}, without {text(interval(other))}", sign(told))


def _pairs(frame: pd.DataFrame, metric: str, kind: str) -> Iterator[tuple[str, pd.Series, pd.Series]]:
    """(data, row with, row without) what `kind` says, at the last epoch."""
    for name in plain(frame):
        if f"{name}{kind}" not in set(frame.data):
            continue
        one, other = last(frame, f"{name}{kind}", metric), last(frame, name, metric)
        if one is not None and other is not None:
            yield name, one, other


def _times(factor: float, found: Interval) -> Interval:
    ends = sorted((factor * found[1], factor * found[2]))
    return factor * found[0], ends[0], ends[1]


def early(frame: pd.DataFrame) -> list[Finding]:
    """70 % of those who end exposed are so by a fifth of the training."""
    found = []
    for name in dict.fromkeys(frame.data):
        epochs = frame[frame.data == name].epoch
        by_then = epochs[epochs <= EARLY * epochs.max()]
        if by_then.empty:
            continue
        epoch = int(by_then.max())
        row = at_epoch(frame, name, "already_exposed", epoch)
        auc = at_epoch(frame, name, "forecast_auc", epoch, adversary="fleet-forecast")
        best = last(frame, name, "forecast_auc", adversary="attainable")
        if row is None:
            found.append(Finding(name, f"epoch {epoch}", "too few are exposed at the end", UNDECIDED))
            continue
        told = "" if auc is None or best is None else f"; forecast {text(interval(auc))} of {best.value:.3f} attainable"
        figures = f"already exposed {text(interval(row))} of {row.n:.0f}{told}"
        found.append(Finding(name, f"epoch {epoch}", figures, sign(interval(row), KNOWN)))
    return found


def hard(frame: pd.DataFrame) -> list[Finding]:
    """Records that are hard to learn are those at risk."""
    found = []
    for name in dict.fromkeys(frame.data):
        for measure in ("loss-without", "iteration-learned"):
            row = last(frame, name, "rank_correlation", adversary=measure)
            if row is not None:
                found.append(Finding(name, measure, text(interval(row)), sign(interval(row))))
    return found


CLAIMS: dict[str, tuple[str, Callable[[pd.DataFrame], list[Finding]]]] = {
    "difficulty": ("Displacement and entropy grow with the difficulty of the data set", difficulty),
    "wide": ("A wide residual network moves more than three times as far as a shallow one", wide),
    "sam": ("Sharpness-aware minimisation lowers the peak transition", sam_peak),
    "sam-risk": ("With sharpness-aware minimisation more records end exposed (arXiv 2310.00488)", sam_risk),
    "early": ("70 % of the records that end exposed are so after a fifth of the training", early),
    "hard": ("Records that are hard to learn are those at risk", hard),
}
"""Name (the mark on the page, after `dynamics-`) to the claim in words and what decides it."""
