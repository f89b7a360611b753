"""Runs that a page has trouble with: one with hostile names, a large one, one with every picture."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
from example_run import EPOCHS, example_run
from PIL import Image

from ptaudit.spec.catalog import FIELD, GUESSED_FIELD, JOINT, OF_MEMBERS, OF_OTHERS, TRANSITIONS
from ptaudit.tables.folder import REBUILT
from ptaudit.tables.row import Row
from ptaudit.tables.run import Run
from ptaudit.tables.samples import COLUMNS, SAMPLES
from ptaudit.tables.table import Table

HOSTILE = "</td><script>alert(1)</script>\"'><img src=x onerror=alert(1)>\x1b[31m\u202e{{ 7*7 }}"


def hostile_run() -> Run:
    """The example, in which layers, views, adversaries, gates and the manifest are called `HOSTILE`."""
    run = example_run()
    rename = {"head.fc2": HOSTILE, "batch-32": f"v{HOSTILE}"}
    columns = dict(run.rows.columns)
    for name in ("layer", "view", "adversary"):
        words = columns[name]
        texts = tuple(rename.get(text, f"{text}{HOSTILE}" if name == "adversary" else text) for text in words.texts)
        columns[name] = replace(words, texts=texts)
    layers = tuple(replace(layer, name=rename.get(layer.name, layer.name)) for layer in run.layers)
    verdicts = tuple(replace(one, id=HOSTILE, view=HOSTILE, reason=HOSTILE, advice=HOSTILE) for one in run.verdicts)
    manifest = {**run.manifest, "warnings": [HOSTILE], "threat_model": [HOSTILE], "device": HOSTILE, "status": HOSTILE}
    return replace(run, name=HOSTILE, rows=Table(columns), layers=layers, verdicts=verdicts, manifest=manifest)


def big_run(layers: int = 100, epochs: int = 20) -> Run:
    """Every layer and epoch in every view of the example: 100 layers x 20 epochs."""
    run = example_run(layers=layers)
    last = run.rows.where(epoch=8)
    tables = [Table({**last.columns, "epoch": np.full(len(last), epoch)}) for epoch in range(epochs)]
    columns = {
        name: type(column)(np.concatenate([t.columns[name].codes for t in tables]), column.texts)
        if hasattr(column, "codes")
        else np.concatenate([t.columns[name] for t in tables])
        for name, column in last.columns.items()
    }
    return replace(run, rows=Table(columns))


def pictured_run(folder: Path) -> Run:
    """The example with what every section and picture of the page needs; what was kept of records goes to `folder`."""
    run = example_run()
    some = next(row for row in run.rows if row.game == "membership" and row.measured)
    rows = [*run.rows, *_of_dynamics(some), *_of_reconstruction(some), *_of_defended(run)]
    entries = [_trained("dp-1", 0.7), _trained("prune-0.9", 0.85)]
    manifest = {**run.manifest, "defenses": entries, "reference_models": 16, "held_out_majority": 0.1}
    _keep(folder)
    return replace(run, rows=Table.of(rows), manifest=manifest)


def _of_dynamics(some: Row) -> list[Row]:
    """Where records are on the plane, how they get there, and how early it can be told."""

    def told(epoch: int, metric: str, value: float, adversary: str = "fleet") -> Row:
        return replace(some, epoch=epoch, game="dynamics", adversary=adversary, metric=metric, value=value,
                       lo=value - 0.01, hi=value + 0.01, null=0.005, ceiling=1.0)  # fmt: skip

    rows = [told(epoch, "exposed", 0.02 * epoch) for epoch in EPOCHS]
    for epoch in EPOCHS[1:]:
        rows += [told(epoch, name, 1 / len(TRANSITIONS)) for name in TRANSITIONS]
    for epoch in EPOCHS:
        rows += [told(epoch, name, 0.1 * epoch) for name in ("displacement", "encoding_speed", "entropy")]
        rows += [told(epoch, "forecast_auc", 0.6 + 0.03 * epoch, who) for who in ("fleet-forecast", "run-forecast")]
    return [*rows, told(8, "forecast_auc", 0.95, "attainable")]


def _of_reconstruction(some: Row) -> list[Row]:
    return [
        replace(some, epoch=8, view="batch-8", game="reconstruction", adversary="tableak", metric=name, value=value,
                lo=value - 0.2, hi=value + 0.1, null=0.02, ceiling=1.0, n=16, status="attack-limited")
        for name, value in (("identified", 0.7), ("fields", 0.6), ("rebuilt", 0.5))
    ]  # fmt: skip


def _of_defended(run: Run) -> list[Row]:
    """Joint identity of two trainings with a defense, by who knows of it and who does not."""
    bare = run.rows.where(layer=JOINT, epoch=8, game="identity", view="batch-8", metric="bits")
    return [
        replace(row, trained_with=name, knowledge=knows, value=value, lo=value - 0.1, hi=value + 0.1)
        for row in bare
        for name, values in (("dp-1", (0.2, -0.4)), ("prune-0.9", (3.0, 1.0)))
        for knows, value in zip(("adaptive", "static"), values)
    ]


def _trained(title: str, accuracy: float) -> dict[str, object]:
    numbers = {"strength": 1.0, "epsilon": None, "held_out_loss": 0.5}
    accuracies = {"train_accuracy": accuracy, "held_out_accuracy": accuracy}
    return {"title": title, "name": title, "parameter": "", "status": "ok", **numbers, **accuracies}


def _keep(folder: Path, members: int = 40) -> None:
    """Scores of records for every chart and table that needs them, and a picture."""
    draw = np.random.default_rng(0)
    lines = []
    for epoch in (0, 8):
        for k in range(members):
            scores = {
                "fpr": 0.1,
                "tpr": k / members,
                "exposed": float(k > 30),
                "loss_without": 0.1 * k,
                "risk": 0.05 * k,
            }
            lines += [(epoch, f"{k:016x}", "dynamics", name, value) for name, value in scores.items()]
            for side, shift in ((OF_MEMBERS, 1.0), (OF_OTHERS, 0.0)):
                lines.append((epoch, f"{k:016x}", "membership", f"loss{side}", draw.normal() + shift))
    for k in range(16):
        for field, right in (("age", k < 12), ("income", k < 4)):
            lines.append((8, f"{k:016x}", "reconstruction", f"batch-8/tableak{FIELD}{field}", float(right)))
            lines.append((8, f"{k:016x}", "reconstruction", f"batch-8/tableak{GUESSED_FIELD}{field}", float(k < 4)))
    table = pd.DataFrame([(0, epoch, who, JOINT, *rest) for epoch, who, *rest in lines], columns=list(COLUMNS))
    folder.mkdir(parents=True, exist_ok=True)
    table.to_csv(folder / SAMPLES, index=False, lineterminator="\n")
    (folder / REBUILT).mkdir(exist_ok=True)
    Image.new("L", (48, 24), 128).save(folder / REBUILT / "seed-0-epoch-8-reconstruction-batch-8-tableak.png")
