"""Heat maps: layer by epoch, for each game and view."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from ptaudit.report.answer import view_words
from ptaudit.report.html.elements import HeatCell, HeatMap, HeatRow
from ptaudit.report.words import adversary_text, interval_text, is_null, number, share, tenth
from ptaudit.spec.catalog import JOINT
from ptaudit.spec.metrics import metric
from ptaudit.tables.row import Row
from ptaudit.tables.spec import views_of
from ptaudit.tables.status import first_word
from ptaudit.tables.table import Table, strongest
from ptaudit.tables.wide import primary_rows

if TYPE_CHECKING:
    from ptaudit.tables.run import Run

_MOST_EPOCHS = 24
_MOST_CELLS = 36_000
"""Larger tables would make the page slow; what is left out is named, and stands in `layer_epoch.csv`."""


def heat_maps(run: Run) -> tuple[tuple[HeatMap, ...], tuple[str, ...]]:
    """A map for each game and view with numbers of layers; and the titles of those for which there is no room."""
    rows = run.rows.as_trained
    rows = rows.take(rows.adaptive)
    layers = primary_rows(rows.take(~rows.are(layer=JOINT)))
    views = views_of(run.spec_text)
    maps: list[HeatMap] = []
    left_out, cells = [], 0
    for game, name, view, knows in layers.distinct("game", "metric", "view", "knows"):
        title = f"{adversary_text(f'{game}.{name}', 'adaptive', knows)} in view {view}"
        here = strongest(rows.where(game=game, metric=name, view=view, knows=knows), "layer", "epoch")
        cells += len(here)
        if cells > _MOST_CELLS:
            left_out.append(title)
        else:
            maps.append(_map(title, view_words(view, views.get(view)), here, is_first=not maps))
    return tuple(maps), tuple(left_out)


def _map(title: str, seen: str, here: Table, *, is_first: bool) -> HeatMap:
    every = np.unique(here.number("epoch")).tolist()
    places = np.unique(np.linspace(0, len(every) - 1, min(len(every), _MOST_EPOCHS)).astype(int)).tolist()
    epochs = [every[place] for place in places]
    found: dict[str, dict[int, Row]] = {}
    for row in sorted(here, key=lambda row: row.layer_index):
        found.setdefault(row.layer, {})[row.epoch] = row
    measured = [row for by_epoch in found.values() for row in by_epoch.values() if row.measured]
    scaled = any(share(row) is not None for row in measured)
    top = max((row.value for row in measured), default=math.nan)
    rows = tuple(
        HeatRow(
            "all layers jointly" if layer == JOINT else layer,
            tuple(_cell(by_epoch.get(epoch), None if scaled else top) for epoch in epochs),
            _last(by_epoch, every[-1]),
        )
        for layer, by_epoch in found.items()
    )
    own = f"{metric(here[0].metric).unit}, the darkest cell is the largest number"
    unit = "percent of what could be found (the ceiling)" if scaled else own
    cut = f" {len(epochs)} of {len(every)} audited epochs are shown." if len(epochs) < len(every) else ""
    said = f"Seen is {seen}. In cells: {unit}; in brackets: no better than a guess.{cut}"
    return HeatMap(title, said, tuple(map(str, epochs)), rows, is_first)


def _last(by_epoch: dict[int, Row], epoch: int) -> str:
    row = by_epoch.get(epoch)
    return "" if row is None else interval_text(row) if row.measured else first_word(row.status)


def _cell(row: Row | None, top: float | None) -> HeatCell:
    """`top`: what the darkest cell stands for where there is no ceiling."""
    if row is None:
        return HeatCell("-", "none", "no number of this layer at this epoch")
    if not row.measured:
        return HeatCell("?", "none", row.status)
    part = share(row) if top is None else (row.value / top if top > 0 else 0.0)
    text = number(row.value) if top is not None else "?" if part is None else f"{100 * part:.0f}"
    shown = f"({text})" if is_null(row) and part is not None else text
    return HeatCell(shown, tenth(part) if part is not None else "none", told(row))


def told(row: Row) -> str:
    """A number with all that is needed to believe it."""
    parts = [
        f"{interval_text(row)} by {row.adversary}",
        f"null {number(row.null, 3)}",
        f"ceiling {number(row.ceiling)}",
    ]
    parts += [f"detectable {number(row.detectable, 3)}"] if math.isfinite(row.detectable) else []
    parts += [row.status] if row.status != "ok" else []
    return ", ".join(parts)


def left_out_text(titles: Sequence[str]) -> str:
    """Which maps are not on the page."""
    return f"Not shown, to keep this page small, but in layer_epoch.csv: {', '.join(titles)}." if titles else ""
