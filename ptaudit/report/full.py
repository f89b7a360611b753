"""The whole report, page after page: joint rows, layers, epochs, gates, and where the numbers are kept."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from ptaudit.estimators.registry import ESTIMATORS
from ptaudit.report.cells import NOISE_NOTE, noise_cell
from ptaudit.report.defenses import defense_grid, threat_grid
from ptaudit.report.document import Block, Cell, Column, Document, Facts, Grid, Lines, Marks, drop_blank_columns
from ptaudit.report.localisation import localisation_grid
from ptaudit.report.pages import conclusion_cell, gate_grid
from ptaudit.report.summary import heats, summarise
from ptaudit.report.words import adversary_text, count, interval_text, number, percent, share, shares
from ptaudit.spec.catalog import JOINT, NOISE_HALF
from ptaudit.tables.columns import first_of, keys, places_of, series_of
from ptaudit.tables.defenses import defense_lines
from ptaudit.tables.localisation import localisation_sheet
from ptaudit.tables.ranking import PLACE, noise_halves, noise_of, noise_rows
from ptaudit.tables.row import KEY_COLUMNS
from ptaudit.tables.sweeps import threats
from ptaudit.tables.table import Table, strongest

if TYPE_CHECKING:
    from ptaudit.tables.run import Run

FILES = (
    ("leakage.csv", "every number with interval, null, ceiling, n and status"),
    ("layers.csv", "first, last and maximum over epochs for each layer, view, game and metric"),
    ("epochs.csv", "losses, accuracies, the joint row and the worst layer of each epoch"),
    ("layer_epoch.csv", "layer by epoch, wide"),
    ("threats.csv", "what adversaries of each knowledge find, last epoch"),
    ("defenses.csv", "accuracy and leakage of each defense, static and adaptive adversaries side by side"),
    ("localisation.csv", "sensitivity, subspace and Jensen-Shannon distance of every layer"),
    ("gates.json", "the verdicts"),
    ("manifest.json", "versions, device, seeds and hashes"),
    ("spec.resolved.yaml", "the spec as it was run; it can be run again"),
)


_SOMETIMES: dict[str, Callable[[Run], bool]] = {
    "threats.csv": lambda run: bool(threats(run)),
    "defenses.csv": lambda run: bool(defense_lines(run)),
    "localisation.csv": lambda run: bool(localisation_sheet(run).rows),
}
"""Files that not every run has."""

_OF_LAYERS = ("bits", "top_share")
"""Metrics that have a table of layers; membership has bits too."""


def full_report(run: Run, folder: str | None = None) -> Document:
    """The report as a document of many tables; `folder` is used in the commands it suggests."""
    summary, bare = summarise(run), replace(run, rows=run.rows.as_trained)
    files = [(name, what) for name, what in FILES if name not in _SOMETIMES or _SOMETIMES[name](run)]
    blocks: tuple[Block, ...] = (
        Lines("verdict", "", (conclusion_cell(summary.conclusion),)),
        Facts("facts", summary.facts),
        gate_grid(run.verdicts, folder or f"runs/{run.name}", most=None),
        defense_grid(run, full=True),
        threat_grid(run),
        localisation_grid(bare),
        _joint(bare),
        *_layers(bare),
        _epochs(bare),
        _captured(run),
        Lines("caveat", "What this does not show", tuple(map(Cell, summary.caveats)), bullets=True),
        Lines("file", "Files", tuple(Cell(f"{name}: {what}", link=name) for name, what in files), bullets=True),
    )
    return Document(f"ptaudit {run.name}", blocks)


def _joint(run: Run) -> Grid:
    """Row `*` of each view, game, adversary and metric at the last epoch, with its course over epochs."""
    rows = run.rows.where(layer=JOINT)
    last = rows.last_epoch
    columns = (
        Column("view"),
        Column("game"),
        Column("adversary"),
        Column("metric"),
        Column("value [95 % interval]", right=True),
        Column("ceiling", right=True),
        Column("of ceiling", right=True),
        Column("null", right=True),
        Column("n", right=True),
        Column("by epoch"),
        Column("status"),
    )
    parts, (_, group) = shares(rows), first_of(keys(KEY_COLUMNS[1:], rows)[0])
    courses = [tuple(parts[place] for place in places) for places in series_of(group, rows.number("epoch"))]
    shown = np.flatnonzero(rows.are(epoch=last))
    cells = tuple(
        (
            Cell(row.view),
            Cell(row.game),
            Cell(adversary_text(row.adversary, row.knowledge, row.knows)),
            Cell(row.metric),
            Cell(interval_text(row)),
            Cell(number(row.ceiling)),
            Cell(percent(share(row))),
            Cell(number(row.null, 3)),
            Cell(count(row.n)),
            Marks(courses[line]),
            Cell(row.status),
        )
        for line, row in zip(group[shown], rows.take(shown))
    )
    return Grid("joint", f"All layers jointly (*) at epoch {last}", columns, cells)


def _layers(run: Run) -> list[Grid]:
    """One table for each view and game, and each estimator: every layer's number, first, last and highest."""
    rows = run.rows.where(metric=_OF_LAYERS)
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


def _layer_table(title: str, here: Table, noisy: Table) -> Grid:
    epochs = np.unique(here.number("epoch")).tolist()
    columns = (
        Column("layer"),
        Column("type"),
        Column("parameters", right=True),
        Column(f"epoch {epochs[0]}", right=True),
        Column(f"epoch {epochs[-1]} [95 % interval]", right=True),
        Column("highest [95 % interval]", right=True),
        Column("at epoch", right=True),
        Column("of ceiling", right=True),
        Column("ceiling", right=True),
        Column("null", right=True),
        Column("n", right=True),
        Column(NOISE_HALF, right=True),
        Column("by epoch"),
        Column("status"),
    )
    best = strongest(here, "layer", "epoch")
    best = best.take(np.argsort(best.number("layer_index"), kind="stable"))
    series = series_of(first_of(best.text("layer").codes)[1], best.number("epoch"))
    value = np.where(best.measured, best.number("value"), -np.inf)
    peaks = [p[np.argmax(value[p])] if np.isfinite(value[p]).any() else p[-1] for p in series]
    ends = (best.take(np.array(places)) for places in ([p[0] for p in series], [p[-1] for p in series], peaks))
    noises = noise_halves(noisy.where(epoch=epochs)) if here[0].metric == "bits" else {}
    courses = heats(best, epochs)
    cells = []
    for first, last, highest in zip(*ends):
        cells.append(
            (
                Cell(last.layer),
                Cell(last.layer_type),
                Cell(count(last.parameters)),
                Cell(interval_text(first) if first.epoch == epochs[0] else "-"),
                Cell(interval_text(last)),
                Cell(interval_text(highest)),
                Cell(str(highest.epoch)),
                Cell(percent(share(last))),
                Cell(number(last.ceiling)),
                Cell(number(last.null, 3)),
                Cell(count(last.n)),
                noise_cell(noise_of(last, noises)),
                Marks(courses[last.layer], "heat"),
                Cell(last.status),
            )
        )
    grid = Grid("layer", title, columns, tuple(cells))
    if (places_of(*keys(PLACE, here, noisy)) >= 0).any():
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


def _captured(run: Run) -> Grid:
    columns = (
        Column("layer"),
        Column("type"),
        Column("parameters", right=True),
        Column("captured by"),
        Column("reason"),
    )
    rows = tuple(
        (
            Cell(layer.name),
            Cell(layer.type),
            Cell(count(layer.parameters)),
            Cell("not captured" if layer.capture == "none" else layer.capture),
            Cell(layer.reason),
        )
        for layer in run.layers
    )
    return drop_blank_columns(Grid("captured", "How layers were captured", columns, rows))
