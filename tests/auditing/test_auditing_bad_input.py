"""Each mistake ends in one clear line that names the place and the remedy, exit 2, and nothing half-written."""

from __future__ import annotations

import pandas as pd
import pytest
import torch
from audit_case import ONE_VIEW, call, write_spec

from ptaudit.tables.folder import read_run
from ptaudit.tables.row import find

GATE = {"id": "leak", "metric": "identity.bits", "view": "batch-2", "max": 1.0}

MISTAKES = {
    "unknown key": (
        {"train__epoch": 3},
        ["spec.yaml:", "unknown key `epoch` in `train`", "did you mean `epochs`?"],
    ),
    "unknown key of a view": (
        {"audit__views": [{"name": "a", "batchsize": 2}]},
        ["spec.yaml:", "unknown key `batchsize` in `audit.views.0`", "`batch_size`"],
    ),
    "wrong type": ({"train__epochs": "many"}, ["spec.yaml:", "`train.epochs`", "whole number", "'many'"]),
    "out of range": ({"data__held_out": 1.5}, ["spec.yaml:", "`data.held_out`", "1.5"]),
    "no batch": ({"train__batch_size": 0}, ["spec.yaml:", "`train.batch_size`"]),
    "token dimension": ({"audit__tokens": {"dim": 60}}, ["spec.yaml:", "perfect square", "64"]),
    "missing part": ({"train": None}, ["`train` is missing"]),
    "missing model file": ({"model__entry": "modles.py:net"}, ["modles.py"]),
    "missing function": ({"model__entry": "models.py:nets"}, ["models.py", "`nets`", "net"]),
    "wrong arguments": ({"model__args": {"clases": 3}}, ["models.py", "clases"]),
    "missing data file": ({"data": {"source": "csv:people.csv", "label": "y"}}, ["people.csv"]),
    "missing data function": ({"data": {"source": "data.py:nmbers"}}, ["data.py", "numbers"]),
    "unknown source": ({"data__source": "sklearn:digit"}, ["digit"]),
    "no trainable parameters": ({"model__entry": "models.py:untrainable"}, ["models.py:untrainable", "no trainable"]),
    "records do not fit the model": (
        {"model__entry": "models.py:regression"},
        ["model", "4 features", "8"],
    ),
    "output does not fit the loss": ({"train__loss": "mse"}, ["train.loss", "mse needs as many outputs"]),
    "labels out of range": (
        {"model__args": {"classes": 7}},
        ["labels are 0..9, the model has 7 outputs", "give the model 10 outputs"],
    ),
    "too few records": ({"data__limit": 10}, ["audit.records", "5 members are too few", "at least 8"]),
    "more records than there are": ({"audit__records": 500}, ["audit.records", "500", "160"]),
    "a model that is no number": ({"model__entry": "models.py:not_a_number"}, ["nan", "initial weights"]),
    "epoch after the last": ({"audit__epochs": [0, 9]}, ["spec.yaml:", "epoch 9"]),
    "gate that names no metric": (
        {"gates": [{**GATE, "metric": "identity.bit"}]},
        ["spec.yaml:", "unknown metric `identity.bit`", "`identity.bits`"],
    ),
    "gate on no view": ({"gates": [{**GATE, "view": "batch-3"}]}, ["spec.yaml:", "`batch-3`", "did you mean `batch-"]),
    "gate glob that matches no layer": (
        {"gates": [{**GATE, "over": "conv*"}]},
        ["gate leak", "`conv*` matches no layer", "there are: 1, 3"],
    ),
    "view pattern that matches no layer": (
        {"audit__views": [{"name": "head", "batch_size": 2, "layers": ["head.*"]}]},
        ["view head", "`head.*` matches no layer", "there are: 1, 3"],
    ),
}


def assert_one_line(result, words):
    assert result.exit_code == 2, result.output
    assert result.stdout == ""
    assert "Traceback" not in result.stderr
    assert "internal error" not in result.stderr
    lines = result.stderr.splitlines()
    assert len(lines) == 1, result.stderr
    assert lines[0].startswith("error: ")
    for word in words:
        assert word in lines[0]


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_one_line_and_nothing_is_written(tmp_path, name):
    changes, words = MISTAKES[name]
    path = write_spec(tmp_path, **changes)
    assert_one_line(call("run", path, "--out", tmp_path / "run", "-q"), words)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("name", MISTAKES)
def test_check_finds_what_run_would_refuse(tmp_path, name):
    changes, words = MISTAKES[name]
    assert_one_line(call("check", write_spec(tmp_path, **changes)), words)


def test_a_missing_spec(tmp_path):
    assert_one_line(call("run", tmp_path / "spec.yaml"), [str(tmp_path / "spec.yaml"), "no such file", "ptaudit init"])


def test_yaml_that_would_run_python(tmp_path):
    path = write_spec(tmp_path)
    with path.open("a", encoding="utf-8") as file:
        file.write(f"gates: !!python/object/apply:os.mkdir ['{tmp_path / 'pwned'}']\n")
    assert_one_line(call("run", path, "--out", tmp_path / "run"), ["spec.yaml:", "python/object/apply"])
    assert not (tmp_path / "pwned").exists()
    assert not (tmp_path / "run").exists()


def test_yaml_that_is_none(tmp_path):
    path = write_spec(tmp_path)
    path.write_text("version: 1\n  name: [small\n", encoding="utf-8")
    assert_one_line(call("run", path), ["spec.yaml:2"])


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_cuda_asked_and_absent(tmp_path):
    result = call("run", write_spec(tmp_path), "--out", tmp_path / "run", "--device", "cuda")
    assert_one_line(result, ["cuda", "--device cpu"])
    assert not (tmp_path / "run").exists()


def test_a_folder_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("", encoding="utf-8")
    result = call("run", write_spec(tmp_path), "--out", tmp_path / "file" / "run", "-q")
    assert_one_line(result, [str(tmp_path / "file" / "run"), "--out"])


# A training that diverges


@pytest.fixture(scope="module")
def diverged(tmp_path_factory):
    """The spec, the folder and the outcome of a run whose loss becomes NaN in its second epoch."""
    home = tmp_path_factory.mktemp("diverged")
    (home / "loss.py").write_text(
        "import torch\n"
        "from torch.nn.functional import cross_entropy\n"
        "steps = []\n"
        "def later(output, target):\n"
        "    steps.extend([1] * (torch.is_grad_enabled() and len(target) == 32 and not torch.is_inference(output)))\n"
        "    losses = cross_entropy(output, target, reduction='none')\n"
        "    return losses * float('nan') if len(steps) > 7 else losses\n",
        encoding="utf-8",
    )
    gate = {**GATE, "epoch": 2}
    path = write_spec(
        home,
        train__loss="loss.py:later",
        audit__epochs=[0, 1, 2],
        audit__views=ONE_VIEW,
        audit__records=100,
        gates=[gate],
    )
    return path, home / "run", call("run", path, "--out", home / "run")


def test_a_loss_that_is_no_number_ends_the_run_with_exit_2(diverged):
    _, folder, result = diverged
    assert result.exit_code == 2
    line = result.stderr.splitlines()[-1]
    assert line.startswith("error: the training loss is nan in epoch 2, step ")
    assert f"the epochs before it are in {folder}" in line
    assert "train.optimizer.lr" in line
    assert "Traceback" not in result.stderr


def test_epochs_before_it_are_kept_and_the_run_is_marked(diverged):
    run = read_run(diverged[1])
    assert {row.epoch for row in run.rows} == {0, 1}
    assert all(row.measured for row in find(run.rows, metric="bits"))
    assert str(run.manifest["status"]).startswith("diverged: the training loss is nan in epoch 2")
    assert list(pd.read_csv(diverged[1] / "epochs.csv")["epoch"]) == [0, 1]
    assert run.verdicts == ()
    assert "diverged" in call("show", diverged[1], "--format", "plain").stdout
    assert "diverged" in (diverged[1] / "report.md").read_text(encoding="utf-8")
    assert not (diverged[1] / ".resume").exists()


def test_resuming_it_ends_as_it_did(diverged):
    path, folder, _ = diverged
    result = call("run", path, "--out", folder, "--resume", "-q")
    assert result.exit_code == 2
    assert "the training loss is nan in epoch 2" in result.stderr.splitlines()[-1]


def test_a_learning_rate_out_of_all_reason(tmp_path):
    path = write_spec(
        tmp_path, train__optimizer={"name": "sgd", "lr": 1e30}, audit__views=ONE_VIEW, audit__epochs=[0, 2]
    )
    result = call("run", path, "--out", tmp_path / "run")
    assert result.exit_code == 2
    assert "error: the training loss is nan in epoch 1" in result.stderr.splitlines()[-1]
    assert {row.epoch for row in read_run(tmp_path / "run").rows} == {0}


def test_diverged_before_any_audited_epoch_keeps_the_training(tmp_path):
    path = write_spec(tmp_path, train__optimizer={"name": "sgd", "lr": 1e30}, audit__views=ONE_VIEW, audit__epochs=[2])
    assert call("run", path, "--out", tmp_path / "run").exit_code == 2
    assert list(pd.read_csv(tmp_path / "run" / "epochs.csv")["epoch"]) == [0]
    shown = call("show", tmp_path / "run", "--format", "plain")
    assert shown.exit_code == 0
    assert "diverged" in shown.stdout


def test_what_must_be_mended_first_leaves_no_unfinished_run(tmp_path):
    """BatchNorm cannot train on the one record that the last batch holds: seen only once training is under way."""
    (tmp_path / "norm.py").write_text(
        "from torch import nn\n"
        "def net():\n"
        "    return nn.Sequential(nn.Flatten(), nn.Linear(64, 8), nn.BatchNorm1d(8), nn.Linear(8, 10))\n",
        encoding="utf-8",
    )
    path = write_spec(
        tmp_path, model__entry="norm.py:net", train__batch_size=53, audit__epochs=[2], audit__views=ONE_VIEW
    )
    assert_one_line(call("run", path, "--out", tmp_path / "run", "-q"), ["train.batch_size", "BatchNorm"])
    assert not (tmp_path / "run").exists()
