"""Leakage over the epochs: a line chart for each game, as numbers that the template draws as SVG."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from ptaudit.report.html.elements import Curve, Curves, Point
from ptaudit.report.html.heat import told
from ptaudit.report.words import adversary_text, number, shares
from ptaudit.spec.catalog import JOINT
from ptaudit.tables.row import Row
from ptaudit.tables.table import Table, strongest
from ptaudit.tables.wide import primary_rows

if TYPE_CHECKING:
    from ptaudit.tables.run import Run

WIDTH, HEIGHT = 300, 170
"""Of the plotted area, in the units of the drawing."""
MOST = 7
_TICKS = 6


def curves(run: Run) -> tuple[Curves, ...]:
    """A chart for each game with numbers of all layers jointly at two epochs or more."""
    rows = primary_rows(run.rows.as_trained.where(layer=JOINT))
    found = []
    for game, name in rows.distinct("game", "metric"):
        best = strongest(rows.where(game=game, metric=name), "view", "knows", "epoch")
        if len(np.unique(best.number("epoch"))) > 1:
            found.append(_chart(f"{game}.{name}", best))
    return tuple(found)


def _chart(title: str, best: Table) -> Curves:
    parts = shares(best)
    scaled = any(part is not None for part in parts)
    ends = [end for row in best for end in (row.lo, row.hi)]
    low, high = (0.0, 1.0) if scaled else (min(0.0, *ends), max(ends) or 1.0)
    epochs = np.unique(best.number("epoch")).tolist()

    def across(epoch: float) -> float:
        return round(float(WIDTH * (epoch - epochs[0]) / (epochs[-1] - epochs[0])), 1)

    def up(value: float) -> float:
        return round(HEIGHT * (1 - min(max((value - low) / (high - low), 0.0), 1.0)), 1)

    by_view: dict[str, list[Point]] = {}  # of each knowledge too
    for row, part in zip(best, parts):
        middle, lo, hi = _scaled(row, part) if scaled else (row.value, row.lo, row.hi)
        if math.isfinite(middle):
            view = adversary_text(row.view, "adaptive", row.knows)
            text = f"{view}, epoch {row.epoch}: {told(row)}"
            by_view.setdefault(view, []).append(Point(across(row.epoch), up(middle), up(lo), up(hi), text))
    views = sorted(by_view, key=lambda view: by_view[view][-1].y)[:MOST]
    lines = tuple(Curve(view, place, tuple(by_view[view])) for place, view in enumerate(views))
    ticks = tuple((up(low + k * (high - low) / 4), _tick(low + k * (high - low) / 4, scaled)) for k in range(5))
    shown = [epochs[k] for k in np.unique(np.linspace(0, len(epochs) - 1, min(len(epochs), _TICKS)).astype(int))]
    unit = "from a guess (0 %) to all that could be found (100 %)" if scaled else "value"
    more = f" The {MOST} of {len(by_view)} views that give away most." if len(by_view) > MOST else ""
    said = f"{title} by epoch, {unit}; the bands are 95 % intervals.{more}"
    return Curves(title, said, lines, tuple((across(epoch), str(epoch)) for epoch in _apart(shown, across)), ticks)


def _apart(epochs: list[int], across: object) -> list[int]:
    """Epochs whose labels do not run into each other; the last one is always told."""
    kept: list[int] = []
    for epoch in reversed(epochs):
        if not kept or across(kept[-1]) - across(epoch) >= WIDTH / 14:  # type: ignore[operator]
            kept.append(epoch)
    return kept[::-1]


def _scaled(row: Row, part: float | None) -> tuple[float, float, float]:
    """Value and interval as shares of the ceiling."""
    if part is None:
        return (math.nan,) * 3
    floor = 0.0 if row.metric == "bits" else row.null
    room = row.ceiling - floor
    return part, (row.lo - floor) / room, (row.hi - floor) / room


def _tick(value: float, scaled: bool) -> str:
    return f"{100 * value:.0f} %" if scaled else number(value)
