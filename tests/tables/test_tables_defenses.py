"""`defenses.csv` and `threats.csv` from rows alone."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
from pydantic import TypeAdapter
from table_builders import make_row

from ptaudit.spec.catalog import JOINT
from ptaudit.spec.defenses import Defense
from ptaudit.tables.defenses import COLUMNS, defense_lines, defenses_sheet, title_of
from ptaudit.tables.row import Row
from ptaudit.tables.run import EpochEntry, Run
from ptaudit.tables.sweeps import swept, threats
from ptaudit.tables.table import Table

SPEC = """\
audit:
  views:
    - {name: v, batch_size: 4, rounds: 1}
    - {name: w, batch_size: 16, rounds: 1, defense: {name: prune, ratio: 0.9}}
  games:
    - {name: property, values: [1]}
    - {name: property, id: late, values: [1], weights: late, own_records: 50}
    - identity
"""
ENTRY = {
    "title": "sign", "name": "sign", "parameter": "", "strength": None, "train_accuracy": 0.8,
    "held_out_accuracy": 0.7, "held_out_loss": 0.5, "epsilon": None, "status": "ok",
}  # fmt: skip


BOTH = {"trained_with": "sign", "knowledge": "static"}


def row(view: str, adversary: str, value: float, **columns: object) -> Row:
    found = make_row(JOINT, value, view=view, game="property", adversary=adversary, ceiling=1.0, epoch=2, n=50)
    return replace(found, **columns)  # type: ignore[arg-type]


def run(*rows: Row) -> Run:
    epochs = (EpochEntry(2, 1, 0.4, 0.9, 0.5, 0.85, math.nan),)
    return Run("r", Table.of(rows), (), epochs, {"defenses": [ENTRY]}, {}, SPEC)


def test_each_defense_has_its_strongest_adversaries_side_by_side() -> None:
    found = defense_lines(
        run(
            row("v", "linear", 0.5), row("v", "mlp", 0.6), row("v", "linear", 0.9, epoch=1),
            row("v", "linear", 0.3, trained_with="sign"), row("v", "linear", -0.4, **BOTH),
            row("v", "mlp", -0.2, **BOTH),
            row("w", "linear", 0.2), row("w", "linear", 0.1, knowledge="static"), row("v", "linear", 0.7, layer="fc"),
        )
    )  # fmt: skip
    bare, trained, shown = found
    assert (bare.entry.title, bare.shown, bare.entry.held_out_accuracy) == ("none", "none", 0.85)
    assert (bare.adaptive.adversary, bare.static) == ("mlp", None)
    assert (trained.entry.title, trained.shown, trained.view, trained.entry.held_out_accuracy) == (
        "sign",
        "sign",
        "v",
        0.7,
    )
    assert (trained.static.adversary, trained.static.knowledge) == ("mlp", "static")
    assert (shown.entry.title, shown.shown, shown.view) == ("none", "prune-0.9", "w")


def test_the_sheet_leaves_empty_what_nobody_played() -> None:
    (only,) = defenses_sheet(run(row("v", "linear", 0.3, trained_with="sign"))).rows
    cells = dict(zip(COLUMNS, only, strict=True))
    assert cells["static"] == ""
    assert math.isnan(float(cells["static_value"]))
    assert cells["adaptive_lo"] == 0.3 - 0.1


@pytest.mark.parametrize(
    "defense",
    [
        {"name": "dp", "clip": 1.0, "noise_multiplier": 0.5}, {"name": "dp", "clip": 2, "noise_multiplier": 1},
        {"name": "prune", "ratio": 0.9}, {"name": "sign"}, {"name": "perturb", "size": 0.1, "attribute": "sex"},
        {"name": "perturb"}, {"name": "dropout", "rate": 0.5}, {"name": "label_dp", "epsilon": 2.0},
        {"name": "vib", "beta": 0.01, "width": 16}, {"name": "vib", "beta": 0.01},
    ],
)  # fmt: skip
def test_titles_are_those_of_the_spec(defense: dict[str, Any]) -> None:
    spec = TypeAdapter(Defense).validate_python(defense)
    assert title_of(spec.plain()) == spec.title


def test_late_adversaries_have_no_line() -> None:
    assert not defense_lines(
        run(row("v", "linear", 0.5, knowledge="late"), row("v", "linear", 0.3, trained_with="sign", knowledge="late"))
    )


def test_a_run_without_defenses_has_no_such_table() -> None:
    bare = replace(run(row("v", "linear", 0.5)), manifest={}, spec_text="audit: {views: [{name: v, batch_size: 4}]}")
    assert not defenses_sheet(bare).rows


def test_threats_tell_what_the_adversary_knew() -> None:
    found = threats(
        run(
            row("v", "linear", 0.5), row("v", "linear", 0.1, game="late"), row("w", "linear", 0.1, knowledge="static"),
            row("v", "likelihood-ratio", 3.0, game="identity"), row("v", "linear", 0.2, trained_with="sign"),
        )
    )  # fmt: skip
    knows = [
        (t.knows["batch_size"], t.knows["weights"], t.knows["own_records"], t.row.trained_with, t.row.knowledge)
        for t in found
    ]
    assert knows == [
        (4, "exact", "half", "none", "adaptive"),
        (4, "late", 50, "none", "adaptive"),
        (16, "exact", "half", "none", "static"),
        (4, "exact", "half", "sign", "adaptive"),
    ]


def test_what_differs_is_what_is_shown() -> None:
    both = run(row("v", "linear", 0.5), row("v", "linear", 0.1, game="late"))
    assert list(swept(both)) == ["weights", "own_records"]
    assert not list(swept(run(row("v", "linear", 0.5))))


def test_rows_of_defenses_are_kept_apart() -> None:
    rows = (row("v", "linear", 0.5), row("v", "linear", 0.3, trained_with="sign"))
    assert [row.trained_with for row in Table.of(rows).as_trained] == ["none"]
