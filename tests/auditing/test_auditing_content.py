"""The content game as an audit plays it: rows, gates, refusals, and what `check` says it takes."""

from __future__ import annotations

import json

import pytest
from audit_case import call, write_spec

from ptaudit.auditing import check
from ptaudit.tables.folder import read_run

VIEWS = [
    {"name": "record", "batch_size": 1},
    {"name": "batch-4", "batch_size": 4},
    {"name": "sign", "batch_size": 1, "defense": {"name": "sign"}},
    {"name": "dp", "batch_size": 1, "defense": {"name": "dp", "clip": 1.0, "noise_multiplier": 2.0}},
]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("content")
    gate = {"id": "g", "metric": "content.psnr_gain_db", "view": "record", "over": "joint", "max": 3}
    changes = {"audit__epochs": [0], "audit__views": VIEWS, "audit__games": ["content"], "gates": [gate]}
    path = write_spec(folder, **changes)
    found = call("run", path, "--out", folder / "run", "-q")
    assert found.exit_code == 1, found.output  # the gate fails: the picture is rebuilt
    return read_run(folder / "run")


def test_a_run_has_every_metric_of_pictures_for_all_layers_and_each(run):
    rows = [row for row in run.rows if row.game == "content"]
    assert {row.metric for row in rows} == {
        "bits", "explained_variance", "psnr_db", "psnr_gain_db", "ssim", "ssim_gain",
    }  # fmt: skip
    assert {row.layer for row in rows} == {"*", "1", "3"}
    assert {row.adversary for row in rows} == {"linear"}
    assert all(row.n == 160 and row.lo <= row.value <= row.hi for row in rows if row.status == "ok")


def test_one_record_is_rebuilt_noise_and_others_hide_it(run):
    explained = {(row.view, row.layer): row for row in run.rows if row.metric == "explained_variance"}
    assert explained["record", "1"].value > 0.99
    assert explained["record", "*"].value > 0.99
    assert explained["sign", "*"].value < 0.9
    for view in ("batch-4", "dp"):
        assert explained[view, "*"].hi < 0.6
    bits = {(row.view, row.layer): row for row in run.rows if row.metric == "bits"}
    assert bits["dp", "*"].value <= bits["dp", "*"].ceiling < 10_000


@pytest.mark.parametrize(
    ("game", "gate", "said"),
    [
        ({"name": "content", "family": ["conv"]}, None, ""),
        ("content", "content.fields", "does not report `fields` of records that are picture"),
    ],
)
def test_gates_on_what_is_not_told_of_such_records_are_refused(tmp_path, game, gate, said):
    gates = [] if gate is None else [{"id": "g", "metric": gate, "view": "it", "max": 1}]
    views = [{"name": "it", "batch_size": 1}]
    found = call("check", write_spec(tmp_path, audit__games=[game], audit__views=views, gates=gates))
    assert found.exit_code == (2 if said else 0), found.output
    assert said in found.stderr


def test_a_decoder_of_pictures_is_refused_for_rows_of_numbers(tmp_path):
    changes = {"data__source": "data.py:numbers", "train__loss": "mse", "model__entry": "models.py:regression"}
    games = [{"name": "content", "family": ["linear", "conv"]}]
    path = write_spec(tmp_path, audit__games=games, model__args=None, **changes)
    found = call("check", path)
    assert found.exit_code == 2
    assert "rebuilds pictures, and the records are table" in found.stderr


def test_the_seconds_of_the_game_are_about_those_of_the_run(tmp_path):
    """Within a factor of four, on a machine that does other things too."""
    games = [{"name": "content", "family": ["linear", "mlp"]}]
    views = [{"name": "batch-4", "batch_size": 4}]
    changes = {"data__limit": 1200, "train__epochs": 1, "audit__epochs": [1], "audit__views": views}
    path = write_spec(tmp_path, audit__games=games, **changes)
    expected = check(path).estimate_seconds["games"]
    assert call("run", path, "--out", tmp_path / "run", "-q").exit_code == 0
    spent = json.loads((tmp_path / "run" / "timings.json").read_text(encoding="utf-8"))["games"]
    assert spent / 4 < expected < 4 * spent
