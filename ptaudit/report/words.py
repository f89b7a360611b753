"""Numbers, durations and series as text: the same in every format."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ptaudit.spec.catalog import JOINT, NO_DEFENSE
from ptaudit.spec.metrics import metric
from ptaudit.tables.row import Row
from ptaudit.tables.table import Table

Shares = Sequence[float | None]
"""Values scaled to 0..1 (their ceiling), one per epoch; None where there is no conclusive number."""

MARKS = 24
"""Longer series are drawn in this many marks at most, each the maximum of its epochs."""

_SPARK = {True: "▁▂▃▅▇", False: "_.-=#"}
_MISSING = "?"
_ASCII = str.maketrans(
    {"…": "~", "–": "-", "—": "-", "×": "x", "·": "-", "≤": "<=", "≥": ">=", "→": "->", "σ": "sigma"}
)


def share(row: Row | None) -> float | None:
    """How much of what the game allows was reached, in 0..1; None where it cannot be said.

    Bits start at 0 (the prior); the field's own scores start at their null (an AUC of 0.5 is nothing).
    """
    if row is None or not row.measured:
        return None
    part = float(_reached(row.value, _start(row.metric), row.null, row.ceiling))
    return None if math.isnan(part) else part


def shares(rows: Table) -> list[float | None]:
    """The `share` of each row."""
    metrics = rows.text("metric")
    start = np.array(list(map(_start, metrics.texts)))[metrics.codes]
    part = _reached(rows.number("value"), start, rows.number("null"), rows.number("ceiling"))
    part[~rows.measured] = np.nan
    return [None if math.isnan(one) else one for one in part.tolist()]


def is_null(row: Row) -> bool:
    """Whether a measured row cannot be told from finding nothing: its interval reaches down to a guess."""
    start = _start(row.metric)
    floor = max((one for one in (start, row.null) if not math.isnan(one)), default=-math.inf)
    return row.measured and metric(row.metric).score and row.lo <= floor


def _start(name: str) -> float:
    prior = metric(name).prior
    return math.nan if prior is None else prior


def _reached(value: ArrayLike, start: ArrayLike, null: ArrayLike, ceiling: ArrayLike) -> NDArray[np.float64]:
    """The part of the way from `start`, or the null where that is NaN, to the ceiling; NaN where there is none."""
    floor = np.where(np.isnan(start), null, start)
    with np.errstate(invalid="ignore", over="ignore"):
        room, above = np.subtract(ceiling, floor), np.subtract(value, floor)
    part = np.divide(above, room, where=np.isfinite(room) & (room > 0), out=np.full(room.shape, np.nan))
    return np.asarray(np.clip(part, 0.0, 1.0), dtype=np.float64)


def number(value: float, digits: int = 2) -> str:
    """A number at fixed precision; `-` where there is none, never a negative zero."""
    if not math.isfinite(value):
        return "-"
    text = f"{value:.{digits}f}"
    return text[1:] if text[0] == "-" and float(text) == 0 else text


def adversary_text(adversary: str, knowledge: str, knows: str) -> str:
    """An adversary with what it knows, where that is not the usual: `linear (static)`, `exact (knows others)`."""
    marks = [knowledge] if knowledge != "adaptive" else []
    marks += [f"knows {knows}"] if knows != "none" else []
    return f"{adversary} ({', '.join(marks)})" if marks else adversary


def view_text(view: str, trained_with: str) -> str:
    """A view with the training that it is of, where that is one with a defense: `batch-8 (with prune-0.9)`."""
    return view if trained_with == NO_DEFENSE else f"{view} (with {trained_with})"


def layer_words(layer: str) -> str:
    """A layer of the tables, where `*` is all of them."""
    return "all layers jointly" if layer == JOINT else f"layer {layer}"


def score_text(row: Row) -> str:
    """Game and metric, with what the adversary knows of the records: `identity.bits (knows others)`."""
    return adversary_text(f"{row.game}.{row.metric}", "adaptive", row.knows)


def digits_for(name: str, value: float, hi: float) -> int:
    """Decimals that suit a row: bits two, small bits and the other scores three."""
    small = not (max(abs(value), abs(hi)) >= 0.1)
    return 3 if small else metric(name).digits


def interval_text(row: Row) -> str:
    """The value with its pointwise 95 % interval, or `-` where the attack could not run."""
    if not row.measured:
        return "-"
    return bounds_text(row.value, row.lo, row.hi, digits_for(row.metric, row.value, row.hi))


def bounds_text(value: float, lo: float, hi: float, digits: int = 2) -> str:
    """`value [lo, hi]`, or `-` where there is no value."""
    if not math.isfinite(value):
        return "-"
    return f"{number(value, digits)} [{number(lo, digits)}, {number(hi, digits)}]"


def percent(part: float | None) -> str:
    """A share of the ceiling in whole percent."""
    return "-" if part is None else f"{100 * part:.0f} %"


def count(number_of: int) -> str:
    """An integer with thousands separated."""
    return f"{number_of:,}"


def plural(number_of: int, noun: str) -> str:
    """`1 gate`, `3 gates`."""
    return f"{count(number_of)} {noun}{'' if number_of == 1 else 's'}"


def duration(seconds: float) -> str:
    """A duration for people: `0.4 s`, `42 s`, `3 min 20 s`, `2 h 5 min`."""
    if not math.isfinite(seconds):
        return "-"
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 120:
        return f"{whole} s"
    if whole < 7200:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def size(count_of_bytes: int) -> str:
    """A memory size: `512 KiB`, `1.2 GiB`."""
    amount = float(count_of_bytes)
    for unit in ("B", "KiB", "MiB"):
        if amount < 1024:
            return f"{amount:.0f} {unit}"
        amount /= 1024
    return f"{amount:.1f} GiB"


def sparkline(shares: Shares, *, unicode: bool = True) -> str:
    """One mark per epoch, its height the share of the ceiling; `?` where there is no conclusive number."""
    return "".join(_mark(part, _SPARK[unicode]) for part in thin(shares))


def shades(shares: Shares) -> str:
    """A digit an epoch, the tenth that the share falls in; `?` where there is no conclusive number."""
    return "".join(tenth(part).ljust(shade_width(shares)) for part in thin(shares))


def tenth(part: float | None) -> str:
    """`0` for less than a tenth, to `9` for more than nine."""
    return _MISSING if part is None else str(min(int(10 * part + 1e-9), 9))


def shade_width(shares: Shares) -> int:
    """Characters for a cell of the heat map: two where there is room, so that cells stand apart."""
    return 2 if 2 * len(shares) <= MARKS else 1


def level(part: float) -> int:
    """Which of five levels a share falls in."""
    return min(int(part * 5), 4)


def thin(shares: Shares) -> list[float | None]:
    """The series in at most `MARKS` marks: the maximum of each run of neighbouring epochs."""
    step = marks_step(len(shares))
    groups = [shares[start : start + step] for start in range(0, len(shares), step)]
    return [max((part for part in group if part is not None), default=None) for group in groups]


def marks_step(length: int) -> int:
    """How many epochs one mark stands for."""
    return max(1, math.ceil(length / MARKS))


def shorten(name: str, room: int) -> str:
    """A name cut in its middle, where dotted layer paths differ least."""
    if len(name) <= room:
        return name
    tail = (room - 1 + 1) // 2
    return f"{name[: room - 1 - tail]}…{name[-tail:]}"


def to_ascii(text: str) -> str:
    """The text for a terminal that cannot show more than ASCII."""
    return text.replace("… ", "... ").translate(_ASCII).encode("ascii", "replace").decode("ascii")


def _mark(part: float | None, ramp: str) -> str:
    return _MISSING if part is None else ramp[level(part)]
