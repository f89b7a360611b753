"""How many records would decide a gate that is between pass and fail."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from ptaudit.gate.cases import Cases
from ptaudit.spec.registry import GAMES
from ptaudit.stats import two_way
from ptaudit.tables.columns import Mask
from ptaudit.tables.run import Run
from ptaudit.tables.spec import games_of, models_of

if TYPE_CHECKING:
    from ptaudit.spec.audit import GateSpec

OF_ALL_MODELS = "fleet_"
"""Start of metrics whose intervals are over models too."""
_MODELS = "reference models"
_MOST = 100.0
"""More than so many times the records nobody has: the value is at the limit."""


def records_to_decide(cases: Cases, undecided: Mask, limit: float) -> int | None:
    """About how many records a gate would have to look at to be decided, if all values stay as they are.

    A bound is half a width away from its value, and widths shrink with the square root of the records: of n records
    with half-width h, a value d away from the limit needs about n · (h / d)². Where a value is above the limit, the
    gate is decided (it fails) as soon as one such row is; else it passes once all rows are.

    Args:
        cases: what the gate looks at; all of it was measured.
        undecided: `(rows,)`, which rows are between.
        limit: of the gate.

    Returns:
        The number that `n` of the rows would have to be, in two digits; None where a value is at the limit.
    """
    value, lo, hi = (numbers[undecided] for numbers in (cases.value, cases.lo, cases.hi))
    records = cases.measured.number("n")[undecided]
    apart = value - limit
    half = np.where(apart > 0, value - lo, hi - value)
    with np.errstate(divide="ignore", invalid="ignore"):
        times = (half / np.abs(apart)) ** 2
    times = np.where(times > _MOST, np.inf, np.maximum(times, 1.0))
    needed = times * records
    above = apart > 0
    most = float(needed[above].min() if above.any() else needed.max(initial=0.0))
    return two_digits(most) if math.isfinite(most) and most > 0 else None


def in_words(gate: GateSpec, run: Run, needed: int, present: int) -> str:
    """What would decide a gate, in words: a number of records, and of models, or how many times what its intervals are
    over."""
    units, times, models = _units(gate, run), needed / present, models_of(run.spec_text)
    if len(units) == 1:
        what = f"{needed} {units[0]} would decide it ({present} now)"
    elif units[1:] == [_MODELS] and models > 1:
        enough, now = models_to_decide(times, models), f"({present} and {models} now)"
        what = f"{needed} {units[0]} and {enough} {_MODELS} together would decide it {now}"
    else:
        what = f"{times:.2g} times as many {' and '.join(units)} would decide it"
    return f"about {what}, if the number stays as it is"


def models_to_decide(times: float, models: int) -> int:
    """Reference models, an even number, whose part in the variance of an interval is that of so many, over `times`.

    An interval over records and models has a part of its variance from each; its draws are sums of both, so that the
    tables do not tell which part is the larger, and more of one alone may never decide a gate. If each part shrinks by
    a factor, their sum does: that needs `times` as many records, and of models these, which are fewer, since the factor
    for few models falls with them too.
    """
    wanted, enough = two_way.few_models(models) ** 2 / models / times, models
    while two_way.few_models(enough) ** 2 / enough > wanted:
        enough += 2
    return enough


def _units(gate: GateSpec, run: Run) -> list[str]:
    """What the intervals of a gate's rows are over, in the plural."""
    name = str(games_of(run.spec_text).get(gate.game, {}).get("name", gate.game))
    models = [_MODELS] if gate.measure.startswith(OF_ALL_MODELS) else []
    return [GAMES[name].counts if name in GAMES else "records", *models, *(["seeds"] if len(run.seeds) > 1 else [])]


def two_digits(number: float) -> int:
    """Rounded up to two digits."""
    unit = 10 ** max(math.floor(math.log10(number)) - 1, 0)
    return int(math.ceil(number / unit) * unit)
