"""What cannot be read, what has no classes, and one leaky layer among quiet ones."""

from __future__ import annotations

import json
import math

import pytest
from audit_case import ONE_VIEW, call, tables, write_spec

import ptaudit
from ptaudit.spec.catalog import JOINT
from ptaudit.tables.folder import read_run
from ptaudit.tables.row import find
from ptaudit.tables.summary import most_leaking

# Layers that are not captured


def audited(home, model):
    """The terminal summary and the folder of a run."""
    defense = {"name": "dp", "clip": 1.0, "noise_multiplier": 1.0}
    views = [{"name": "batch-2", "batch_size": 2}, {"name": "dp", "batch_size": 2, "defense": defense}]
    gate = {"id": "leak", "metric": "identity.accuracy", "view": "batch-2", "over": "layers", "max": 1.0}
    path = write_spec(home, model__entry=f"models.py:{model}", audit__views=views, audit__epochs=[2], gates=[gate])
    return call("run", path, "--out", home / "run", "--format", "plain"), home / "run"


@pytest.fixture(scope="module")
def batchnorm(tmp_path_factory):
    """Without running statistics every gradient of a record depends on all records of its batch."""
    return audited(tmp_path_factory.mktemp("batchnorm"), "batchnorm")


@pytest.fixture(scope="module")
def spare(tmp_path_factory):
    """A layer that is never called, beside others."""
    return audited(tmp_path_factory.mktemp("spare"), "Spare")


def assert_unread(rows, layer):
    mine = find(rows, layer=layer)
    of_layers = [row for row in rows if row.metric != "tnr_at_fnr_0.01"]  # of the loss, which is of the whole model
    assert {(row.view, row.game, row.metric) for row in mine} == {(row.view, row.game, row.metric) for row in of_layers}
    names = {"combined", "likelihood-ratio", "gradient-norm", "gradient-likelihood"}
    assert "combined" in {row.adversary for row in mine} <= names
    assert all(row.status.startswith("not captured: ") and len(row.status) > 20 for row in mine)
    assert all(math.isnan(row.value) for row in mine)


def test_a_model_that_mixes_records_is_not_captured_and_says_why(batchnorm):
    result, folder = batchnorm
    run = read_run(folder)
    assert [layer.capture for layer in run.layers] == ["none"] * 3
    assert "not captured" in result.stdout
    summary = json.loads((folder / "summary.json").read_text(encoding="utf-8"))
    assert set(summary["not_captured"]) == {"1", "2", "4"}
    assert all(summary["not_captured"].values())
    for layer in ("1", "2", "4"):
        assert_unread(run.rows, layer)


def test_what_no_gradient_was_read_for_is_inconclusive(batchnorm):
    rows = find(read_run(batchnorm[1]).rows, layer=JOINT)
    assert {row.view for row in rows} == {"batch-2", "dp", "model"}
    for row in rows:
        if row.adversary == "loss":
            assert row.measured == (row.metric == "tpr_at_fpr_0" or not row.metric.startswith(("tpr", "tnr")))
        else:
            assert row.status.startswith("inconclusive: no layer ")


def test_a_gate_over_layers_that_are_not_captured_does_not_pass(batchnorm):
    result, folder = batchnorm
    assert result.exit_code == 3
    verdict = json.loads((folder / "gates.json").read_text(encoding="utf-8"))[0]
    assert verdict["outcome"] == "inconclusive"
    assert "not captured" in verdict["reason"]


def test_an_unused_layer_is_listed_beside_measured_ones(spare):
    result, folder = spare
    run = read_run(folder)
    assert [(layer.name, layer.capture) for layer in run.layers] == [
        ("body.1", "rule"), ("body.3", "rule"), ("spare", "none"),
    ]  # fmt: skip
    assert_unread(run.rows, "spare")
    assert "unused" in find(run.rows, layer="spare")[0].status
    assert "spare" in result.stdout
    for view in ("batch-2", "dp"):
        rows = find(run.rows, view=view, game="identity", metric="bits")
        measured = [row.layer for row in rows if row.measured and row.adaptive]
        assert measured == [JOINT, "body.1", "body.3"]


# Targets that are no classes


def test_a_regression_has_no_label_game(tmp_path):
    path = write_spec(
        tmp_path,
        model__entry="models.py:regression",
        data={"source": "data.py:numbers", "args": {"n": 320}},
        train__loss="mse",
        train__optimizer={"name": "sgd", "lr": 0.01},
        audit__views=[{"name": "batch-2", "batch_size": 2}],
        audit__epochs=[2],
    )
    found = ptaudit.audit(path, out=tmp_path / "run")
    labels = find(found.run.rows, game="label")
    assert labels
    assert all(row.status == "inconclusive: the targets are no classes" for row in labels)
    assert find(found.run.rows, game="identity", layer=JOINT, metric="bits")[0].value > 0.5
    assert found.run.epochs[-1].train_loss < found.run.epochs[0].train_loss
    assert math.isnan(found.run.epochs[-1].train_accuracy)


# A planted leak

PLANTED = """\
import torch
from torch import nn

RECORDS = 320

def records():
    kind = torch.arange(RECORDS) % 2
    return torch.cat([nn.functional.one_hot(kind, 2), torch.eye(RECORDS)], 1).float(), kind

class TrainingCanaries(nn.Module):
    def __init__(self):
        super().__init__()
        self.first = nn.Linear(2, 8, bias=False)
        self.leaky = nn.Linear(RECORDS, 8, bias=False)
        self.last = nn.Linear(2, 8, bias=False)

    def forward(self, x):
        kind, who = x[:, :2], x[:, 2:]
        return self.first(kind) + self.leaky(who) + self.last(kind)

def linear_loss(output, target):
    return output.sum(1)
"""


@pytest.fixture(scope="module")
def planted(tmp_path_factory):
    """The gradient of a linear loss is the layer's input: in one layer who the record is, in others which half."""
    home = tmp_path_factory.mktemp("planted")
    (home / "planted.py").write_text(PLANTED, encoding="utf-8")
    gate = {"id": "leak", "metric": "identity.bits", "view": "batch-4", "over": "layers", "max": 0.6}
    path = write_spec(
        home,
        model__entry="planted.py:TrainingCanaries",
        data={"source": "planted.py:records"},
        train__loss="planted.py:linear_loss",
        train__optimizer={"name": "sgd", "lr": 0.001},
        audit__games=["identity"],
        audit__epochs=[2],
        audit__tokens={"dim": 64},
        audit__views=[{"name": "record", "batch_size": 1}, {"name": "batch-4", "batch_size": 4}],
        gates=[gate],
    )
    return ptaudit.audit(path, out=home / "run")


def test_the_leaky_layer_is_named(planted):
    assert next(row for row in most_leaking(planted.run) if row.view == "batch-4").layer == "leaky"
    last = planted.epochs.iloc[-1]
    assert last["identity.bits.batch-4.worst_layer"] == "leaky"


def test_a_lone_record_gives_away_exactly_what_its_layers_see(planted):
    """Who it is (log2 of 40 candidates), or which half it is of (one bit, if the candidates are of both)."""
    rows = {row.layer: row for row in find(planted.run.rows, view="record", metric="bits")}
    assert rows["leaky"].value == rows[JOINT].value == pytest.approx(math.log2(40))
    for quiet in ("first", "last"):
        assert rows[quiet].value == pytest.approx(1.0, abs=0.05)


def test_quiet_layers_say_little_of_a_batch(planted):
    rows = {row.layer: row for row in find(planted.run.rows, view="batch-4", metric="bits")}
    assert rows["leaky"].lo > 2 * max(rows["first"].hi, rows["last"].hi)
    assert max(rows["first"].value, rows["last"].value) < 0.5
    assert rows[JOINT].hi >= rows["leaky"].value


def test_the_gate_names_the_leaky_layer(planted):
    verdict = planted.run.verdicts[0]
    assert planted.exit_code == 1
    assert (verdict.outcome, verdict.worst_layer) == ("fail", "leaky")


def test_a_layer_called_as_all_layers_are_is_refused(tmp_path):
    (tmp_path / "star.py").write_text(
        "from torch import nn\n\n\nclass Net(nn.Module):\n    def __init__(self):\n        super().__init__()\n"
        "        self.add_module('*', nn.Linear(64, 10))\n\n"
        "    def forward(self, x):\n        return self._modules['*'](x.flatten(1))\n\n\ndef net():\n    return Net()\n"
    )
    result = call("check", write_spec(tmp_path, model={"entry": "star.py:net"}))
    assert result.exit_code == 2
    assert "a layer is called `*`, which stands for all layers in the tables" in result.stderr


LATER = """\
import torch
from torch import nn

class Later(nn.Module):
    def __init__(self):
        super().__init__()
        self.body, self.spare, self.head = nn.Linear(64, 8), nn.Linear(8, 8), nn.Linear(8, 10)

    def forward(self, x):
        x = x.flatten(1)
        h = self.body(x).relu()
        rare = x.sum(1) > 24.3
        if rare.any():
            h = h.index_add(0, rare.nonzero()[:, 0], self.spare(h[rare]))
        return self.head(h)
"""


def test_a_branch_of_few_records_is_captured_in_rows_check_and_after_a_resume(tmp_path, monkeypatch):
    """None of the first 64 audited members has so much ink; some of the others, or of those held out, have."""
    path = write_spec(tmp_path, model__entry="later.py:Later", audit__views=ONE_VIEW, audit__games=["membership"])
    (tmp_path / "later.py").write_text(LATER, encoding="utf-8")
    whole, resumed = tmp_path / "whole", tmp_path / "resumed"
    assert call("run", path, "--out", whole, "-q").exit_code == 0
    spare = [row for row in read_run(whole).rows if row.layer == "spare"]
    assert spare
    assert not any(row.status.startswith("not captured") for row in spare)
    assert {layer.name: layer.capture for layer in read_run(whole).layers}["spare"] == "loop"

    def stopped(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("ptaudit.auditing.seed.compared", stopped)  # all epochs are whole, nothing is written yet
        assert call("run", path, "--out", resumed, "-q").exit_code == 130
    assert call("run", path, "--out", resumed, "-q", "--resume").exit_code == 0
    assert tables(resumed) == tables(whole)
    assert read_run(resumed).layers == read_run(whole).layers
