"""The whole report, page after page: joint rows, layers, epochs, gates, and where the numbers are kept."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from ptaudit.estimators.registry import ESTIMATORS
from ptaudit.report.check import layers_grid
from ptaudit.report.defenses import defense_grid, threat_grid
from ptaudit.report.document import (
    NOISE_NOTE,
    Cell,
    Column,
    Document,
    Drawn,
    Facts,
    Grid,
    Lines,
    Marks,
    Section,
    drop_blank_columns,
    grid_of,
    noise_cell,
)
from ptaudit.report.dynamics import dynamics_lines
from ptaudit.report.fields import field_grid
from ptaudit.report.groups import group_lines
from ptaudit.report.localisation import localisation_grid
from ptaudit.report.pages import answer_blocks, gate_grid, layer_grid
from ptaudit.report.summary import heats, summarise
from ptaudit.report.words import adversary_text, count, interval_text, number, percent, share, shares
from ptaudit.spec.catalog import JOINT, NOISE_HALF
from ptaudit.spec.metrics import METRICS
from ptaudit.tables.columns import first_of, keys, places_of, series_of
from ptaudit.tables.ranking import LEAK_KEY, noise_halves, noise_of, noise_rows
from ptaudit.tables.row import KEY_COLUMNS, Row
from ptaudit.tables.sheets import SHEETS
from ptaudit.tables.table import Table, strongest

if TYPE_CHECKING:
    import pandas as pd

    from ptaudit.tables.run import Run

_MOST_LAYERS = 10
FILES = (
    ("report.html", "the page for people"),
    ("gates.json", "the verdicts"),
    ("manifest.json", "versions, device, seeds and hashes"),
    ("spec.resolved.yaml", "the spec as it was run; it can be run again"),
)


def full_report(run: Run, folder: str | None = None, records: pd.DataFrame | None = None) -> Document:
    """The report as a document of many tables.

    Args:
        run: the tables.
        folder: used in the commands that it suggests.
        records: scores of single records as in `samples.csv`, where the run kept them.
    """
    summary, bare = summarise(run), replace(run, rows=run.rows.as_trained)
    derived = ((name, entry.what) for name, entry in SHEETS.items() if entry.always or entry.make(run).rows)
    files = (("leakage.csv", "every number with interval, null, ceiling, n and status"), *derived, *FILES)
    blocks: tuple[Section, ...] = (
        *answer_blocks(run, summary, most=None),
        Facts("facts", summary.facts),
        gate_grid(run.verdicts, folder or f"runs/{run.name}", most=None),
        defense_grid(run, full=True),
        threat_grid(run),
        layer_grid(summary, "", most=_MOST_LAYERS),
        localisation_grid(bare),
        _joint(bare),
        dynamics_lines(run),
        group_lines(run),
        *([] if records is None else [field_grid(records)]),
        *_layers(bare),
        _epochs(bare),
        replace(layers_grid(run.layers), name="captured", title="How layers were captured"),
        Lines("caveat", "What this does not show", tuple(map(Cell, summary.caveats)), bullets=True),
        Lines("file", "Files", tuple(Cell(f"{name}: {what}", link=name) for name, what in files), bullets=True),
    )
    return Document(f"ptaudit {run.name}", blocks)


def _joint(run: Run) -> Grid:
    """Row `*` of each view, game, adversary and metric at the last epoch, with its course over epochs."""
    rows = run.rows.where(layer=JOINT)
    last = rows.last_epoch
    parts, (_, group) = shares(rows), first_of(keys(KEY_COLUMNS[1:], rows)[0])
    courses = [tuple(parts[place] for place in places) for places in series_of(group, rows.number("epoch"))]
    columns: tuple[Drawn[tuple[int, Row]], ...] = (
        (Column("view"), lambda line: Cell(line[1].view)),
        (Column("game"), lambda line: Cell(line[1].game)),
        (
            Column("adversary"),
            lambda line: Cell(adversary_text(line[1].adversary, line[1].knowledge, line[1].knows)),
        ),
        (Column("metric"), lambda line: Cell(line[1].metric)),
        (Column("value [95 % interval]", right=True), lambda line: Cell(interval_text(line[1]))),
        (Column("ceiling", right=True), lambda line: Cell(number(line[1].ceiling))),
        (Column("of ceiling", right=True), lambda line: Cell(percent(share(line[1])))),
        (Column("null", right=True), lambda line: Cell(number(line[1].null, 3))),
        (Column("n", right=True), lambda line: Cell(count(line[1].n))),
        (Column("by epoch"), lambda line: Marks(courses[line[0]])),
        (Column("status"), lambda line: Cell(line[1].status)),
    )
    elsewhere = [name for name, kind in METRICS.items() if not kind.listed]
    shown = np.flatnonzero(rows.are(epoch=last) & ~rows.are(metric=elsewhere))
    lines = zip(group[shown].tolist(), rows.take(shown))
    return grid_of("joint", f"All layers jointly (*) at epoch {last}", columns, lines)


def _layers(run: Run) -> list[Grid]:
    """One table for each view and game, and each estimator: every layer's number, first, last and highest."""
    rows = run.rows.where(metric=[name for name, kind in METRICS.items() if kind.by_layer])
    rows = rows.take(~rows.are(layer=JOINT) & rows.adaptive)
    groups: dict[tuple[str, str, str, str], list[str]] = {}
    for view, game, metric, name in rows.distinct("view", "game", "metric", "adversary"):
        by = f" by {name}" if name in ESTIMATORS else ""
        groups.setdefault((view, game, metric, by), []).append(name)
    noisy = noise_rows(run.rows)
    return [
        _layer_table(
            f"Layers: {game} {metric} in view {view}{by}",
            rows.where(view=view, game=game, metric=metric, adversary=names),
            noisy.where(view=view, game=game),
        )
        for (view, game, metric, by), names in groups.items()
    ]


class _Course(NamedTuple):
    """The strongest numbers of a layer."""

    first: Row
    last: Row
    highest: Row


def _layer_table(title: str, here: Table, noisy: Table) -> Grid:
    epochs = np.unique(here.number("epoch")).tolist()
    best = strongest(here, "layer", "epoch")
    best = best.take(np.argsort(best.number("layer_index"), kind="stable"))
    series = series_of(first_of(best.text("layer").codes)[1], best.number("epoch"))
    value = np.where(best.measured, best.number("value"), -np.inf)
    peaks = [p[np.argmax(value[p])] if np.isfinite(value[p]).any() else p[-1] for p in series]
    ends = (best.take(np.array(places)) for places in ([p[0] for p in series], [p[-1] for p in series], peaks))
    noises = noise_halves(noisy.where(epoch=epochs)) if here[0].metric == "bits" else {}
    courses = heats(best, epochs)
    columns: tuple[Drawn[_Course], ...] = (
        (Column("layer"), lambda line: Cell(line.last.layer)),
        (Column("type"), lambda line: Cell(line.last.layer_type)),
        (Column("parameters", right=True), lambda line: Cell(count(line.last.parameters))),
        (
            Column(f"epoch {epochs[0]}", right=True),
            lambda line: Cell(interval_text(line.first) if line.first.epoch == epochs[0] else "-"),
        ),
        (Column(f"epoch {epochs[-1]} [95 % interval]", right=True), lambda line: Cell(interval_text(line.last))),
        (Column("highest [95 % interval]", right=True), lambda line: Cell(interval_text(line.highest))),
        (Column("at epoch", right=True), lambda line: Cell(str(line.highest.epoch))),
        (Column("of ceiling", right=True), lambda line: Cell(percent(share(line.last)))),
        (Column("ceiling", right=True), lambda line: Cell(number(line.last.ceiling))),
        (Column("null", right=True), lambda line: Cell(number(line.last.null, 3))),
        (Column("n", right=True), lambda line: Cell(count(line.last.n))),
        (Column(NOISE_HALF, right=True), lambda line: noise_cell(noise_of(line.last, noises))),
        (Column("by epoch, tenths"), lambda line: Marks(courses[line.last.layer], "heat")),
        (Column("status"), lambda line: Cell(line.last.status)),
    )
    grid = grid_of("layer", title, columns, map(_Course, *ends))
    if (places_of(*keys(LEAK_KEY, here, noisy)) >= 0).any():
        return replace(grid, notes=(Cell(NOISE_NOTE),))
    return drop_blank_columns(grid)


_OF_THE_MODEL = "Losses and accuracies are those of the model after the epoch, in eval mode."


def _epochs(run: Run) -> Grid:
    """Losses, accuracies and the joint bits of every view and game, epoch by epoch."""
    joint = run.rows.where(layer=JOINT, metric="bits")
    played = joint.distinct("view", "game")
    best = {(row.epoch, row.view, row.game): row for row in strongest(joint, "epoch", "view", "game")}
    columns = (
        Column("epoch", right=True),
        Column("step", right=True),
        Column("train loss", right=True),
        Column("train accuracy", right=True),
        Column("held-out loss", right=True),
        Column("held-out accuracy", right=True),
        Column("epsilon", right=True),
        *(Column(f"{game} bits, {view}", right=True) for view, game in played),
    )
    rows = []
    for entry in run.epochs:
        scores = [best.get((entry.epoch, view, game)) for view, game in played]
        numbers = (entry.train_loss, entry.train_accuracy, entry.held_out_loss, entry.held_out_accuracy, entry.epsilon)
        texts = [str(entry.epoch), count(entry.step)]
        texts += [number(value, 3) if value == value else "" for value in numbers]
        texts += [interval_text(row) if row else "" for row in scores]
        rows.append(tuple(map(Cell, texts)))
    notes = (Cell(_OF_THE_MODEL),) if run.epochs else ()
    return drop_blank_columns(Grid("epoch", "Epochs (joint rows)", columns, tuple(rows), notes=notes))
