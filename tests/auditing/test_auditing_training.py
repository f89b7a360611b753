"""Ways of training, seen from outside: what ends in the tables and in the words around them."""

from __future__ import annotations

import csv
import json
import math
import sys
from itertools import pairwise
from pathlib import Path

import pytest
from audit_case import ONE_VIEW, call, interrupt_at, tables, write_spec

DP = {"name": "dp_sgd", "clip": 1.0, "noise_multiplier": 1.0}
QUICK = {"audit__views": ONE_VIEW, "audit__games": ["label"], "data__limit": 160}


def run(folder: Path, **train: object) -> tuple[Path, dict]:
    spec = write_spec(folder, **QUICK, **{f"train__{name}": value for name, value in train.items()})
    out = folder / "out"
    result = call("run", spec, "--out", out)
    assert result.exit_code == 0, result.output
    return out, json.loads((out / "manifest.json").read_text())


def epsilons(out: Path) -> list[float]:
    with (out / "epochs.csv").open() as file:
        return [float(row["epsilon"] or "nan") for row in csv.DictReader(file)]


def test_epsilon_stands_in_the_tables_with_its_adjacency(tmp_path):
    opacus = pytest.importorskip("opacus")
    out, manifest = run(tmp_path, defense=DP, epochs=3)
    found = epsilons(out)
    accountant = opacus.accountants.RDPAccountant()
    accountant.history = [(1.0, 32 / 80, 9)]  # 80 members in steps of 32
    assert found[0] == 0
    assert found[3] == pytest.approx(accountant.get_epsilon(delta=1e-5), rel=1e-5)
    assert all(before < after for before, after in pairwise(found))
    (promise,) = (text for text in manifest["threat_model"] if text.startswith("Epsilon"))
    assert "adding or removing one member" in promise
    assert "at delta 1e-05" in promise
    assert "Poisson" in promise
    assert any("private only towards those who do not know the seed" in text for text in manifest["warnings"])
    assert manifest["opacus"] == opacus.__version__
    report = (out / "report.md").read_text()
    assert "adding or removing one member" in report
    assert f"{found[3]:.3g}" in report
    assert call("run", tmp_path / "spec.yaml", "--out", out, "--resume").exit_code == 0


def test_without_noise_epsilon_is_infinite_in_the_table(tmp_path):
    pytest.importorskip("opacus")
    out, _ = run(tmp_path, defense=DP | {"noise_multiplier": 0.0}, epochs=2)
    assert epsilons(out) == [0.0, math.inf, math.inf]
    assert call("show", out, "--format", "json").exit_code == 0
    assert call("show", out, "--format", "md").exit_code == 0


def test_shuffled_batches_and_a_large_delta_are_pointed_out(tmp_path):
    pytest.importorskip("opacus")
    _, manifest = run(
        tmp_path, defense={"name": "dp_sgd", "clip": 1.0, "epsilon": 3, "delta": 0.02, "sampling": "shuffle"}
    )
    text = " ".join(manifest["warnings"])
    assert "batches were shuffled" in text
    assert "Delta 0.02 is not below 1 / 80 members" in text


def test_without_a_defense_there_is_no_epsilon_and_no_promise(tmp_path):
    out, manifest = run(tmp_path)
    assert all(map(math.isnan, epsilons(out)))
    assert not any("psilon" in text for text in [*manifest["threat_model"], *manifest["warnings"]])
    assert "opacus" not in manifest


@pytest.mark.parametrize(
    ("train", "words"),
    [
        ({"label_smoothing": 0.1}, "smoothed labels (0.1)"),
        ({"precision": "bf16"}, "ran in bfloat16 by autocast; gradients and held-out losses are in float32"),
        ({"precision": "fp16"}, "ran in float16 by autocast"),
        ({"sam": {"rho": 0.1}}, "SAM followed those at its perturbed weights"),
    ],
)
def test_what_was_read_is_told_from_what_was_followed(tmp_path, train, words):
    _, manifest = run(tmp_path, epochs=2, **train)
    assert any(words in text for text in manifest["warnings"])


@pytest.mark.parametrize(
    "train",
    [{"accumulate": 4, "clip_norm": 1.0}, {"sam": {}, "precision": "bf16"}, {"precision": "fp16"}, {"defense": DP}],
    ids=["accumulate", "sam", "fp16", "dp"],
)
def test_check_takes_steps_of_every_kind(tmp_path, train):
    if "defense" in train:
        pytest.importorskip("opacus")
    spec = write_spec(tmp_path, **QUICK, **{f"train__{name}": value for name, value in train.items()})
    result = call("check", spec)
    assert result.exit_code == 0, result.output
    assert "one training step" in result.output


def test_what_cannot_be_clipped_is_refused_before_the_folder_is_touched(tmp_path):
    pytest.importorskip("opacus")
    spec = write_spec(tmp_path, **QUICK, model__entry="models.py:batchnorm", train__defense=DP)
    result = call("run", spec, "--out", tmp_path / "out")
    assert result.exit_code == 2
    assert "use GroupNorm" in result.stderr
    assert not (tmp_path / "out").exists()


def test_missing_opacus_is_said_in_one_line(tmp_path, monkeypatch):
    for name in [name for name in sys.modules if name == "opacus" or name.startswith("opacus.")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "opacus", None)
    result = call("run", write_spec(tmp_path, **QUICK, train__defense=DP), "--out", tmp_path / "out")
    assert result.exit_code == 2
    assert "pip install 'ptaudit[dp]'" in result.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "train",
    [{"defense": DP, "seeds": [0, 1]}, {"precision": "fp16", "sam": {"rho": 0.1}, "accumulate": 2}],
    ids=["dp", "fp16-sam"],
)
def test_interrupted_and_resumed_is_as_undisturbed(tmp_path, monkeypatch, train):
    if "defense" in train:
        pytest.importorskip("opacus")
    settings = {f"train__{name}": value for name, value in {"epochs": 3, **train}.items()}
    spec = write_spec(tmp_path, **QUICK, audit__epochs="all", **settings)
    assert call("run", spec, "--out", tmp_path / "undisturbed").exit_code == 0
    with monkeypatch.context() as patch:
        interrupt_at(patch, 2)
        assert call("run", spec, "--out", tmp_path / "cut").exit_code == 130
    assert call("run", spec, "--out", tmp_path / "cut", "--resume").exit_code == 0
    assert tables(tmp_path / "cut") == tables(tmp_path / "undisturbed")
