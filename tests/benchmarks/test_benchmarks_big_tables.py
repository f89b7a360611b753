"""A run that is multiplied for the benchmark is one that ptaudit could have written."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))
sys.path.insert(0, str(Path(__file__).parents[1] / "report"))

import big_tables
import pytest
from example_run import VIEWS, example_run

from ptaudit.gate import decide
from ptaudit.report import open_format
from ptaudit.spec.model import GateSpec
from ptaudit.tables.folder import read_run, write_run


@pytest.fixture
def big(tmp_path):
    run = example_run(verdicts=())
    views = ", ".join(f"{{name: {name}, batch_size: {m}}}" for name, m in VIEWS.items())
    spec = run.spec_text.replace("audit: {", f"audit: {{views: [{views}], ")
    write_run(replace(run, spec_text=spec), tmp_path / "small")
    for seed, name in enumerate(("one", "other")):
        big_tables.multiply(tmp_path / "small", tmp_path / name, 20_000, seed)
    return tmp_path


def test_the_big_run_is_coherent(big):
    run, small = read_run(big / "one"), read_run(big / "small")
    assert 20_000 < len(run.rows) < 30_000
    assert [epoch for (epoch,) in run.rows.distinct("epoch")] == list(range(big_tables.EPOCHS))
    assert {layer.name for layer in run.layers} > {layer for (layer,) in run.rows.distinct("layer")} - {"*"}
    assert len(run.rows.distinct("view")) == 1 + big_tables.VIEWS * len(VIEWS)
    assert run.rows.text("status").counts().keys() == small.rows.text("status").counts().keys()
    assert (read_run(big / "other").rows.number("value") != run.rows.number("value")).any()
    assert "blocks.0.head.fc2" in open_format("rich").render(run)


def test_gates_hold_in_it_as_in_the_small_one(big):
    for limit, outcome in ((7.8, "pass"), (0.5, "fail")):
        gate = GateSpec(id="g", metric="identity.bits", view="batch-32", over="all", epoch="all", max=limit)
        found = [decide([gate], read_run(big / name))[0].outcome for name in ("small", "one")]
        assert found == [outcome] * 2
