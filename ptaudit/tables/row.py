"""The row of the leakage table, and the table."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field, fields
from operator import attrgetter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ptaudit.estimators.registry import ESTIMATORS
from ptaudit.spec.catalog import NO_DEFENSE
from ptaudit.spec.metrics import metric
from ptaudit.stats.estimate import Estimate
from ptaudit.tables.status import is_number

Key = tuple[int, str, str, str, str, str, str, str, str]
"""What tells a row from all others of its table, see `KEY_COLUMNS`."""


@dataclass(frozen=True, slots=True)
class Row:
    """One number of the audit: columns of `leakage.csv`, in their order. Units are in the metric's name.

    Attributes:
        epoch: the audited epoch; 0 is before training.
        step: optimizer steps taken by then.
        layer: name of the layer; `*` for all layers of the view jointly.
        layer_index: its place in the model; of `*` there is none, and it is -1.
        layer_type: class of its module; `joint` for `*`.
        parameters: trainable parameters of the layer, or of all.
        view: name of the view; `model` for the trained weights.
        game: the game's `id`, else its name.
        adversary: who played, or the estimator.
        knowledge: `adaptive`, `static` (prepared on undefended views) or `late` (weights of the epoch before).
        knows: what it knows of the records: `none`, `others`, `pool`, `rest` or `batch_norm`.
        trained_with: `none`, or the title of one of `defenses`.
        metric: which number.
        value: the number; empty where the attack could not run.
        lo: lower end of its 95 % interval, over records.
        hi: upper end.
        null: the same game with the secret shuffled.
        ceiling: the largest value that the game and the noise allow; empty where there is none.
        detectable: the smallest value that would have been seen (80 % power, one-sided 5 %).
        n: distinct records (users, canaries) behind the number, not games.
        status: `ok`, or what to be careful of.
        draws: resamples of the number; not a column.
    """

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
        return _key(self)

    @property
    def measured(self) -> bool:
        """Whether the row holds a number with its interval: not inconclusive, not "not captured", not NaN."""
        return bool(has_interval(self.value, self.lo, self.hi)) and is_number(self.status)

    @property
    def adaptive(self) -> bool:
        """Whether its adversary knows what it looks at, see `is_adaptive`."""
        return is_adaptive(self.knowledge)

    @property
    def as_trained(self) -> bool:
        """Whether it is about the training as the spec has it, and not about one with one of `defenses`."""
        return self.trained_with == NO_DEFENSE

    @property
    def instrument(self) -> bool:
        """Whether the number is an estimator's reading, see `is_instrument`."""
        return is_instrument(self.adversary)

    @property
    def centre(self) -> float:
        """The value before it was clipped to [0, ceiling], as far as the draws tell."""
        clipped = self.draws is not None and bool(may_be_clipped(self.value, self.ceiling))
        return float(np.mean(self.draws)) if clipped else self.value  # type: ignore[arg-type]

    @property
    def estimate(self) -> Estimate:
        """The number with its interval."""
        return Estimate(self.value, self.lo, self.hi, self.null, self.ceiling, self.n, self.status, self.draws)


COLUMNS: tuple[str, ...] = tuple(f.name for f in fields(Row) if f.name != "draws")
KEY_COLUMNS: tuple[str, ...] = (
    "epoch", "layer", "view", "game", "adversary", "knowledge", "knows", "trained_with", "metric",
)  # fmt: skip
_key = attrgetter(*KEY_COLUMNS)
TABLE_VERSION = 2
"""Version of `leakage.csv`; 1 had no columns `knowledge`, `knows`, `trained_with` and `detectable`."""


def is_adaptive(knowledge: str) -> bool:
    """Whether an adversary knows what it looks at. Those that do not (`static`: not the defense, `late`: not the
    present weights) never feed a gate or a summary."""
    return knowledge == "adaptive"


def is_instrument(adversary: str) -> bool:
    """Whether a number is an estimator's reading and no adversary's gain: the largest of several is no stronger, so the
    first one of the spec speaks for its game."""
    return adversary in ESTIMATORS


def has_interval(value: Any, lo: Any, hi: Any) -> Any:
    """Whether a value is finite and has an interval; of a row's numbers, or of columns of them."""
    return (abs(value) < math.inf) & (lo == lo) & (hi == hi)  # NaN is not equal to itself


def may_be_clipped(value: Any, ceiling: Any) -> Any:
    """Whether a value stands where clipping to [0, ceiling] would have put it; of a row, or of columns."""
    return (value == 0.0) | (value >= ceiling)


def limit(name: str, estimate: Estimate) -> float:
    """The column `detectable` of a number: NaN for bounds, and where nothing was measured."""
    return math.nan if not metric(name).score else estimate.detectable


def find(rows: Iterable[Row], **wanted: object) -> list[Row]:
    """Rows whose columns equal the given values, e.g. `find(rows, view="record", metric="bits")`."""
    return [row for row in rows if all(getattr(row, name) == value for name, value in wanted.items())]
