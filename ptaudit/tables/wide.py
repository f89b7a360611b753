"""Tables derived from the leakage table: by layer, by epoch, and layer by epoch (the heat map)."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields
from operator import attrgetter

import numpy as np

from ptaudit.spec.catalog import JOINT, NO_DEFENSE
from ptaudit.spec.registry import GAMES
from ptaudit.tables.bounds import Array, row_bounds
from ptaudit.tables.columns import Places, first_of, keys, series_of
from ptaudit.tables.row import KEY_COLUMNS, Row
from ptaudit.tables.run import EpochEntry, Run
from ptaudit.tables.seeds import degrees_of_freedom
from ptaudit.tables.status import worst_status
from ptaudit.tables.table import Table, best_adversary

Cell = str | int | float

_ENDS = ("", "_lo", "_hi")
_LAYER = ("layer", "layer_index", "layer_type", "parameters")
_GAME = ("view", "game", "adversary", "knowledge", "knows", "trained_with", "metric")


@dataclass(frozen=True)
class Sheet:
    """Columns and rows of a CSV file."""

    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]


def primary_metric(game: str, metrics: Iterable[str]) -> str:
    """The metric that stands for a game: the first of the catalog, else the first there is."""
    there = list(metrics)
    return next((metric for metric in (GAMES[game].metrics if game in GAMES else ()) if metric in there), there[0])


def primary_rows(rows: Table) -> Table:
    """Measured rows of each game's primary metric, adversaries that do not know what they look at left out."""
    reported: dict[str, list[str]] = {}
    for game, metric in rows.distinct("game", "metric"):
        reported.setdefault(game, []).append(metric)
    primary = {(game, primary_metric(game, there)) for game, there in reported.items()}
    chosen = rows.ask(lambda row: (row.game, row.metric) in primary, "game", "metric")
    return rows.take(chosen & rows.measured & rows.adaptive)


def layers_sheet(run: Run) -> Sheet:
    """A row per layer × view × game × adversary × metric: first, last and largest value over the epochs.

    The interval of the largest value is [max of lower, max of upper] simultaneous bounds over the epochs: that of the
    chosen epoch alone would be too optimistic. The status is the one that asks for most caution.
    """
    columns = (*_LAYER, *_GAME, *(f"{which}{end}" for which in ("first", "last", "max") for end in _ENDS))
    table, of_series = [], attrgetter(*_LAYER, *_GAME)
    dof = degrees_of_freedom(run.rows, run.seeds)
    for places in _series(run.rows):
        whole = run.rows.take(places)
        series = list(whole)
        first, last = series[0], series[-1]
        ends = [(row.value, row.lo, row.hi) if row.measured else (math.nan,) * 3 for row in (first, last)]
        peak, peak_epoch = _peak(whole, dof[places])
        status = worst_status(row.status for row in series)
        table.append((*of_series(first), *ends[0], *ends[1], *peak, peak_epoch, last.ceiling, status))
    return Sheet((*columns, "max_epoch", "ceiling", "status"), tuple(table))


def layer_epoch_sheet(run: Run) -> Sheet:
    """The heat map: a row per layer × view × game × adversary × metric, a column `epoch_E` per audited epoch."""
    epochs = np.unique(run.rows.number("epoch")).tolist()
    table, of_series = [], attrgetter(*_LAYER[:2], *_GAME)
    for places in _series(run.rows):
        series = list(run.rows.take(places))
        values = {row.epoch: row.value for row in series if row.measured}
        table.append((*of_series(series[0]), *(values.get(epoch, math.nan) for epoch in epochs)))
    return Sheet((*_LAYER[:2], *_GAME, *(f"epoch_{epoch}" for epoch in epochs)), tuple(table))


def epochs_sheet(run: Run) -> Sheet:
    """The training epoch by epoch, with three columns per game and view of the game's primary metric.

    `GAME.METRIC.VIEW` is the value of the row `*`, `....worst_layer` and `....worst_value` the layer with the largest
    value; under a defense of `defenses` the name is `GAME.METRIC.VIEW.trained_with.DEFENSE`. Where several adversaries
    play, the strongest counts. Empty where nothing was measured.
    """
    rows = primary_rows(run.rows)
    series = rows.distinct(*_OF_SERIES)
    columns = [field.name for field in fields(EpochEntry)]
    for name in (_wide_name(*one) for one in series):
        columns += [name, f"{name}.worst_layer", f"{name}.worst_value"]
    is_joint = rows.are(layer=JOINT)
    joint, worst = (_largest(rows.take(some)) for some in (is_joint, ~is_joint))
    table = []
    for entry in run.epochs:
        cells: list[Cell] = list(asdict(entry).values())
        for place in ((entry.epoch, *one) for one in series):
            cells.append(joint[place].value if place in joint else math.nan)
            cells += [worst[place].layer, worst[place].value] if place in worst else ["", math.nan]
        table.append(tuple(cells))
    return Sheet(tuple(columns), tuple(table))


_OF_SERIES = ("game", "metric", "view", "trained_with")


def _wide_name(game: str, metric: str, view: str, trained_with: str) -> str:
    name = f"{game}.{metric}.{view}"
    return name if trained_with == NO_DEFENSE else f"{name}.trained_with.{trained_with}"


def _largest(rows: Table) -> dict[tuple[int, str, str, str, str], Row]:
    """The row of the largest value of each epoch and series."""
    place = attrgetter("epoch", *_OF_SERIES)
    return {place(row): row for row in best_adversary(rows, "epoch", *_OF_SERIES, score="value")}


def _series(rows: Table) -> list[Places]:
    """Rows that differ in their epoch alone, epochs ascending; in the order of first appearance."""
    return series_of(first_of(keys(KEY_COLUMNS[1:], rows)[0])[1], rows.number("epoch"))


def _peak(series: Table, dof: Array) -> tuple[tuple[float, float, float], Cell]:
    there = series.measured
    measured = series.take(there)
    if not len(measured):
        return (math.nan, math.nan, math.nan), ""
    lower, upper = row_bounds(measured, dof[there])
    top = measured[int(np.argmax(measured.number("value")))]
    return (top.value, float(lower.max()), float(upper.max())), top.epoch
