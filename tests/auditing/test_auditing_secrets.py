"""Attributes as secrets, and scores of single records: what is left out, and what is refused in time."""

from __future__ import annotations

import csv

import numpy as np
import pytest
from audit_case import ONE_VIEW, call, write_spec

from ptaudit.auditing.epoch import EpochAudit
from ptaudit.data.attribute_encoding import MOST_CLASSES, attribute_secret
from ptaudit.tables.folder import read_run
from ptaudit.tables.row import find

COLUMNS = """\
import numpy as np
from sklearn.datasets import load_digits

def digits():
    x, y = load_digits(return_X_y=True)
    x, y = x[:800].reshape(-1, 1, 8, 8).astype("float32") / 16, y[:800]
    low = (y < 5).astype("float64")
    low[:200] = float("nan")
    rare = np.where(np.arange(800) % 400 == 0, "seldom", "often")
    return x, y, {"low": low, "rare": rare, "ink": x.sum((1, 2, 3)).astype("float64"), "number": np.arange(800)}
"""
DATA = {"source": "columns.py:digits", "attributes": ["low", "rare", "ink", "number"]}


def about(attribute):
    return {"name": "usable-information", "id": attribute, "secret": "attribute", "attribute": attribute}


def spec_of(folder, **changes):
    (folder / "columns.py").write_text(COLUMNS, encoding="utf-8")
    changes = {"train__epochs": 1, "audit__epochs": [1], "audit__views": ONE_VIEW, **changes}
    return write_spec(folder, **changes)


@pytest.mark.parametrize(
    ("column", "names"),
    [
        (np.array([0.0, 1.0, np.nan, 1.0]), ("0.0", "1.0")),
        (np.array([0.0, 1.5, np.nan, 1.0]), None),
        (np.array([3, 1, 3]), ("1", "3")),
        (np.arange(MOST_CLASSES), tuple(map(str, range(MOST_CLASSES)))),
        (np.arange(MOST_CLASSES + 1), None),
        (np.array([True, False]), ("False", "True")),
        (np.array(["b", "(missing)", "a", "a"]), ("a", "b")),
        (np.array([1.0, np.inf]), None),
        (np.array([np.nan, np.nan]), ()),
    ],
)
def test_classes_and_numbers_are_told_apart_without_what_is_missing(column, names):
    secret = attribute_secret(column)
    assert secret.names == names
    here = [str(value) not in ("nan", "(missing)") for value in column]
    assert secret.known.tolist() == here
    said = secret.values if names is None else [names[k] if there else "" for k, there in zip(secret.values, here)]
    for value, back, there in zip(column, said, here):
        assert not there or (str(value) == back if names else value == back)


def test_records_without_the_attribute_take_no_part_and_a_rare_class_is_named(tmp_path):
    games = [about(name) for name in ("low", "rare", "ink", "number")]
    path = spec_of(tmp_path, data=DATA, audit__games=games)
    result = call("run", path, "--out", tmp_path / "run", "-q")
    rows = read_run(tmp_path / "run").rows
    low = find(rows, game="low", metric="accuracy", layer="*")[0]
    assert low.measured, result.output
    assert 280 < low.n < 320  # of 400 members a quarter has none
    (rare,) = {row.status for row in find(rows, game="rare", metric="bits")}
    assert rare.startswith("inconclusive: class `seldom` has ")
    for game in ("ink", "number"):
        assert find(rows, game=game, metric="accuracy") == []
        assert find(rows, game=game, metric="bits", layer="*")[0].n == 400


@pytest.mark.parametrize("verb", ["check", "run"])
def test_a_gate_on_the_accuracy_of_a_number_is_refused_before_training(tmp_path, verb):
    gate = {"id": "ink-read", "metric": "ink.accuracy", "view": "batch-2", "over": "joint", "max": 0.5}
    path = spec_of(tmp_path, data=DATA, audit__games=[about("ink")], gates=[gate])
    result = call(verb, path, *(["--out", tmp_path / "run"] if verb == "run" else []))
    assert result.exit_code == 2
    assert "gate ink-read: the secret of `ink` is a number, which has no accuracy (gate `ink.bits`)" in result.stderr
    assert not (tmp_path / "run").exists()


def test_a_gate_on_the_accuracy_of_a_number_as_label_is_refused_too(tmp_path):
    gate = {"id": "g", "metric": "usable-information.accuracy", "view": "batch-2", "over": "joint", "max": 0.5}
    changes = {"data": {"source": "data.py:numbers"}, "train__loss": "mse", "model__entry": "models.py:regression"}
    path = spec_of(tmp_path, audit__games=["usable-information"], gates=[gate], **changes)
    result = call("check", path)
    assert result.exit_code == 2
    assert "is a number, which has no accuracy" in result.stderr


def test_ranks_of_an_inconclusive_game_are_not_kept(tmp_path):
    path = spec_of(tmp_path, data__limit=160, audit__games=["uniqueness"])
    call("run", path, "--out", tmp_path / "run", "-q", "--keep-records")
    assert all(row.status.startswith("inconclusive") for row in read_run(tmp_path / "run").rows)
    with (tmp_path / "run" / "samples.csv").open(newline="") as file:
        assert list(csv.DictReader(file)) == []


def test_scores_that_were_not_kept_are_missed_before_training_goes_on(tmp_path, monkeypatch):
    changes = {"train__epochs": 2, "audit__epochs": [0, 1, 2], "audit__games": ["uniqueness"]}
    path, out, epochs = spec_of(tmp_path, **changes), tmp_path / "run", []
    honest = EpochAudit.__call__

    def disturbed(self, moment):
        epochs.append(moment.epoch)
        if moment.epoch > 1:
            raise KeyboardInterrupt
        honest(self, moment)

    with monkeypatch.context() as patch:
        patch.setattr(EpochAudit, "__call__", disturbed)
        assert call("run", path, "--out", out, "-q").exit_code == 130
        epochs.clear()
        refused = call("run", path, "--out", out, "-q", "--resume", "--keep-records")
    assert refused.exit_code == 2
    assert "the scores of epoch 0 were not kept" in refused.stderr
    assert epochs == []
    assert call("run", path, "--out", out, "-q", "--resume").exit_code in (0, 3)
    whole = call("run", path, "--out", out, "-q", "--resume", "--keep-records")
    assert whole.exit_code == 2
    assert "the scores of single records were not kept" in whole.stderr
