"""The row of the leakage table, and the table."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, fields

import numpy as np
from numpy.typing import NDArray

from ptaudit.estimators.registry import ESTIMATORS
from ptaudit.spec.catalog import NO_DEFENSE, NOISE_HALF
from ptaudit.stats.estimate import NOT_COMPARABLE, Estimate

Key = tuple[int, str, str, str, str, str, str, str, str]
"""What tells a row from all others of its table, see `KEY_COLUMNS`."""


@dataclass(frozen=True, slots=True)
class Row:
    """One number of the audit: columns of `leakage.csv`, in their order. Units are in the metric's name."""

    epoch: int
    step: int
    layer: str
    layer_index: int
    layer_type: str
    parameters: int
    view: str
    game: str
    adversary: str
    knowledge: str
    knows: str
    trained_with: str
    metric: str
    value: float
    lo: float
    hi: float
    null: float
    ceiling: float
    detectable: float
    n: int
    status: str
    draws: NDArray[np.float64] | None = field(default=None, repr=False, compare=False)

    @property
    def key(self) -> Key:
        """What two runs are joined on, see `KEY_COLUMNS`."""
        who = (self.adversary, self.knowledge, self.knows, self.trained_with)
        return (self.epoch, self.layer, self.view, self.game, *who, self.metric)

    @property
    def measured(self) -> bool:
        """Whether the row holds a number with its interval: not inconclusive, not "not captured", not NaN."""
        interval = not (math.isnan(self.lo) or math.isnan(self.hi))
        return interval and math.isfinite(self.value) and is_number(self.status)

    @property
    def adaptive(self) -> bool:
        """Whether its adversary knows what it looks at. Those that do not (`static`: not the defense, `late`: not the
        present weights) never feed a gate or a summary."""
        return self.knowledge == "adaptive"

    @property
    def as_trained(self) -> bool:
        """Whether it is about the training as the spec has it, and not about one with one of `defenses`."""
        return self.trained_with == NO_DEFENSE

    @property
    def instrument(self) -> bool:
        """Whether the number is an estimator's reading and no adversary's gain: the largest of several is no stronger,
        so the first one of the spec speaks for its game."""
        return self.adversary in ESTIMATORS

    @property
    def centre(self) -> float:
        """The value before it was clipped to [0, ceiling], as far as the draws tell."""
        clipped = self.value == 0.0 or self.value >= self.ceiling
        return float(np.mean(self.draws)) if clipped and self.draws is not None else self.value

    @property
    def estimate(self) -> Estimate:
        """The number with its interval."""
        return Estimate(self.value, self.lo, self.hi, self.null, self.ceiling, self.n, self.status, self.draws)


COLUMNS: tuple[str, ...] = tuple(f.name for f in fields(Row) if f.name != "draws")
KEY_COLUMNS: tuple[str, ...] = (
    "epoch", "layer", "view", "game", "adversary", "knowledge", "knows", "trained_with", "metric",
)  # fmt: skip
BOUNDS = ("upper_bits", "epsilon_lo", NOISE_HALF)
"""Metrics that are bounds or noises, of which no size of a leak could have been found."""
TABLE_VERSION = 2
"""Version of `leakage.csv`; 1 had no columns `knowledge`, `knows`, `trained_with` and `detectable`."""


def is_silent(status: str) -> bool:
    """Whether a row of this status is about a layer that gets no gradient, so that nobody learns anything from it."""
    return status.startswith("not captured: unused")


def is_number(status: str) -> bool:
    """Whether a row of this status holds a number."""
    return not status.startswith(("inconclusive", "not captured", NOT_COMPARABLE))


def limit(metric: str, estimate: Estimate) -> float:
    """The column `detectable` of a number: NaN for bounds, and where nothing was measured."""
    return math.nan if metric in BOUNDS else estimate.detectable


def find(rows: Iterable[Row], **wanted: object) -> list[Row]:
    """Rows whose columns equal the given values, e.g. `find(rows, view="record", metric="bits")`."""
    return [row for row in rows if all(getattr(row, name) == value for name, value in wanted.items())]


def strongest(rows: Iterable[Row], key: Callable[[Row], float]) -> Row | None:
    """The row of the adversary that does best; of estimators the first one's. None of no rows."""
    there = list(rows)
    if there and there[0].instrument:
        there = [row for row in there if row.adversary == there[0].adversary]
    return max(there, key=key, default=None)
