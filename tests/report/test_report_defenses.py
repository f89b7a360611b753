"""The sections on defenses, on what adversaries know, and on layers that a secret moves."""

from __future__ import annotations

import math
from dataclasses import replace

from ptaudit.report.defenses import defense_grid, threat_grid
from ptaudit.report.document import Cell, Grid
from ptaudit.report.localisation import localisation_grid
from ptaudit.spec.catalog import JOINT
from ptaudit.tables.row import Row
from ptaudit.tables.run import EpochEntry, Run
from ptaudit.tables.table import Table

SPEC = """\
audit:
  views: [{name: v-m1, batch_size: 1}, {name: v-m8, batch_size: 8}]
  games: [{name: property, values: [1]}]
"""
ENTRY = {
    "title": "dp-1", "name": "dp", "parameter": "noise_multiplier", "strength": 1.0, "train_accuracy": 0.8,
    "held_out_accuracy": 0.7, "held_out_loss": 0.5, "epsilon": math.inf, "status": "ok",
}  # fmt: skip


def row(view: str, adversary: str, metric: str = "bits", status: str = "ok", value: float = 0.5, **columns: str) -> Row:
    value = math.nan if status != "ok" else value
    who = (adversary, *({"knowledge": "adaptive", "knows": "none", "trained_with": "none"} | columns).values())
    return Row(
        1, 9, JOINT, -1, "joint", 3, view, "property", *who, metric, value, value - 0.1, value + 0.1, 0.02, 1.0,
        0.2, 80, status,
    )  # fmt: skip


def run(*rows: Row, defended: bool = True) -> Run:
    manifest = {"held_out_majority": 0.6, **({"defenses": [ENTRY]} if defended else {})}
    return Run("r", Table.of(rows), (), (EpochEntry(1, 9, 0.4, 0.9, 0.5, 0.85, math.nan),), manifest, {}, SPEC)


def texts(grid: Grid, line: int) -> dict[str, str]:
    cells = (cell.text if isinstance(cell, Cell) else "" for cell in grid.rows[line])
    return {column.title: text for column, text in zip(grid.columns, cells, strict=True)}


def test_a_defense_stands_beside_none_with_accuracy_and_both_adversaries() -> None:
    grid = defense_grid(
        run(
            row("v-m1", "mlp"),
            row("v-m1", "mlp", value=0.2, trained_with="dp-1"),
            row("v-m1", "mlp", value=-0.3, trained_with="dp-1", knowledge="static"),
        )
    )
    bare, noisy = texts(grid, 0), texts(grid, 1)
    assert (bare["trained with"], bare["accuracy"], bare["static [95 %]"]) == ("none", "0.850", "-")
    assert (noisy["trained with"], noisy["accuracy"], noisy["epsilon"]) == ("dp-1", "0.700", "inf")
    assert noisy["static [95 %]"].startswith("-0.3")
    assert noisy["adaptive [95 %]"].startswith("0.2")
    assert any("0.600" in note.text for note in grid.notes)


def test_without_classes_the_loss_is_called_a_loss() -> None:
    lost = {**ENTRY, "held_out_accuracy": None}
    found = replace(run(row("v-m1", "mlp", trained_with="dp-1")), manifest={"defenses": [lost]})
    assert texts(defense_grid(found), 0)["loss"] == "0.500"


def test_what_differs_between_adversaries_has_a_column() -> None:
    grid = threat_grid(
        run(row("v-m1", "mlp"), row("v-m8", "mlp"), row("v-m8", "mlp", knowledge="static"), defended=False)
    )
    assert [texts(grid, line)["m"] for line in range(len(grid.rows))] == ["1", "8"]
    assert not threat_grid(run(row("v-m1", "mlp"), defended=False)).rows


def test_reasons_stand_below_the_table_of_layers() -> None:
    lost = "inconclusive: no input"
    grid = localisation_grid(
        run(row("model", "hutchinson", "sensitivity", lost), row("model", "classifier", "js_distance"), defended=False)
    )
    assert texts(grid, 0)["sensitivity [95 %]"] == "-"
    assert texts(grid, 0)["null"] == "0.02"
    assert [note.text for note in grid.notes] == [f"sensitivity: {lost}"]
