"""Numbers about members say nothing where the untrained model tells them from held-out records."""

import math

import numpy as np
import pandas as pd
import pytest
import yaml

import ptaudit
from ptaudit.gate import decide, exit_code
from ptaudit.spec.load import load
from ptaudit.tables.folder import read_run

MODEL = """from torch import nn

def net():
    return nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))
"""


def audit(folder, gap, epochs, **more):
    """A table whose held-out half is moved by `gap` in one column, audited at some epochs."""
    draw = np.random.default_rng(0)
    n = 600
    table = pd.DataFrame(draw.normal(size=(n, 4)), columns=list("abcd"))
    table["label"] = (table.a + draw.normal(size=n) > 0).astype(int)
    table.loc[n // 2 :, "b"] += gap
    table.to_csv(folder / "table.csv", index=False)
    (folder / "models.py").write_text(MODEL)
    np.save(folder / "members.npy", np.arange(n // 2))
    spec = {
        "version": 1,
        "name": "control",
        "model": {"entry": "models.py:net"},
        "data": {"source": "csv:table.csv", "label": "label", "members": "members.npy"},
        "train": {"epochs": max(epochs), "batch_size": 32, "optimizer": {"name": "sgd", "lr": 0.1}},
        "audit": {"epochs": epochs, "tokens": {"dim": 16}, "views": [], "games": ["membership"], **more},
        "gates": [  # no number of its own reaches it
            {
                "id": "members",
                "metric": "membership.auc",
                "view": "model",
                "over": "joint",
                "epoch": "last",
                "max": 0.99,
            }
        ],
    }
    (folder / "spec.yaml").write_text(yaml.safe_dump(spec))
    ptaudit.audit(folder / "spec.yaml", out=folder / "run")
    return read_run(folder / "run")


def test_the_control_is_played_where_the_attack_alone_has_nothing_to_look_at_yet(tmp_path):
    """Loss traces of four epochs tell nothing at the first; the game's own attacks do."""
    run = audit(tmp_path, 1.5, [0, 1, 2, 3], games=[{"name": "membership", "attacks": "loss-trace"}])
    rows = [row for row in run.rows if not math.isnan(row.value)]
    assert {row.epoch for row in rows} == {3}
    assert all(row.status.startswith("not comparable: the untrained model") for row in rows)


@pytest.mark.parametrize("epochs", [[0, 1], [1]], ids=["with the untrained model", "without"])
def test_sides_that_differ_before_training_are_not_comparable(tmp_path, epochs):
    run = audit(tmp_path, 1.5, epochs)
    rows = [row for row in run.rows if row.game == "membership" and not math.isnan(row.value)]
    assert {row.epoch for row in rows} == set(epochs)
    assert all(row.status.startswith("not comparable: the untrained model") for row in rows)
    assert all("b differs" in row.status and "c differs" not in row.status for row in rows)
    assert not any(row.measured for row in rows)
    assert exit_code(decide(load(tmp_path / "spec.yaml").gates, run)) == 3


def test_an_attack_with_nothing_to_look_at_before_training_is_not_comparable_either(tmp_path):
    run = audit(tmp_path, 1.5, [0, 1], games=[{"name": "membership", "attacks": "update-product"}])
    rows = [row for row in run.rows if not math.isnan(row.value)]
    assert {row.epoch for row in rows} == {1}
    assert all(row.status.startswith("not comparable: the untrained model") for row in rows)


def test_sides_of_one_population_are_comparable(tmp_path):
    run = audit(tmp_path, 0.0, [1])
    rows = [row for row in run.rows if row.game == "membership" and row.metric == "auc"]
    assert all(row.measured for row in rows)
    assert exit_code(decide(load(tmp_path / "spec.yaml").gates, run)) == 0


def test_outputs_that_no_label_has_are_a_warning(tmp_path):
    """Labels 3 and 7 of a model for ten digits would count as 0 and 1."""
    draw = np.random.default_rng(0)
    table = pd.DataFrame(draw.normal(size=(200, 4)), columns=list("abcd")).assign(label=[3, 7] * 100)
    table.to_csv(tmp_path / "table.csv", index=False)
    (tmp_path / "models.py").write_text(MODEL.replace("nn.Linear(8, 2)", "nn.Linear(8, 10)"))
    spec = {
        "version": 1,
        "name": "codes",
        "model": {"entry": "models.py:net"},
        "data": {"source": "csv:table.csv", "label": "label"},
        "train": {"epochs": 1},
        "audit": {"epochs": [1], "tokens": {"dim": 16}, "views": [{"name": "r", "batch_size": 1}], "games": ["label"]},
    }
    for given, warned in (({}, True), ({"classes": 10}, False)):
        (tmp_path / "spec.yaml").write_text(yaml.safe_dump({**spec, "data": {**spec["data"], **given}}))
        ptaudit.audit(tmp_path / "spec.yaml", out=tmp_path / "run", fresh=True)
        notes = read_run(tmp_path / "run").manifest["warnings"]
        assert any("10 outputs, the labels 2 classes" in note for note in notes) == warned
