"""Trainings with a defense, seen from outside: layers, words, and a run that is taken up again."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
from audit_case import ONE_VIEW, call, interrupt_at, tables, write_spec

QUICK = {"audit__views": ONE_VIEW, "audit__games": ["label"], "data__limit": 160}
SAID = {
    "prune": ({"ratio": 0.9}, "smallest 90 % of the numbers of each step's gradient to 0"),
    "sign": ({}, "followed the sign of each step's gradient"),
    "perturb": ({"size": 0.2}, "by 0.2 of its length against a linear probe for the label"),
    "vib": ({"beta": 0.01, "width": 4}, "information bottleneck before its last layer (VIB, beta 0.01)"),
    "dropout": ({"rate": 0.25}, "Dropout layers have the rate 0.25"),
    "label_dp": ({"epsilon": 2.0}, "labels of members that were randomised once"),
}


@pytest.mark.parametrize("name", SAID)
def test_what_training_did_is_said_and_its_layers_are_read(tmp_path, name):
    settings, words = SAID[name]
    spec = write_spec(tmp_path, **QUICK, train__epochs=1, audit__epochs=[1], train__defense={"name": name, **settings})
    out = tmp_path / "out"
    result = call("run", spec, "--out", out)
    assert result.exit_code == 0, result.output
    manifest = json.loads((out / "manifest.json").read_text())
    assert any(words in text for text in manifest["warnings"])
    promised = [text for text in manifest["threat_model"] if text.startswith("Epsilon")]
    assert bool(promised) == (name == "label_dp")
    if promised:
        assert "Epsilon 2 of label DP: for changing the label of one member" in promised[0]
    with (out / "leakage.csv").open() as file:
        layers = {row["layer"] for row in csv.DictReader(file)}
    inside = {f"3.bottleneck.{layer}" for layer in ("mean", "log_variance", "decoder")} if name == "vib" else set()
    assert layers == {"*", "1", "3", *inside}
    assert "opacus" not in manifest


def test_labels_that_are_never_named_are_pointed_out(tmp_path):
    def warned(epsilon):
        defense = {"name": "label_dp", "epsilon": epsilon}
        folder = tmp_path / str(epsilon)
        folder.mkdir()
        spec = write_spec(folder, **QUICK, train__epochs=1, audit__epochs=[0], train__defense=defense)
        assert call("run", spec, "--out", folder / "out").exit_code == 0
        manifest = json.loads((folder / "out" / "manifest.json").read_text())
        return [text for text in manifest["warnings"] if "randomised labels only ever name" in text]

    assert "only ever name the " in warned(0.01)[0]
    assert warned(9.0) == []


def interrupted(folder: Path, monkeypatch: pytest.MonkeyPatch, spec: Path) -> None:
    with monkeypatch.context() as patch:
        interrupt_at(patch, 2)
        assert call("run", spec, "--out", folder).exit_code == 130


def test_an_interrupted_run_with_a_bottleneck_ends_with_the_same_tables(tmp_path, monkeypatch):
    defense = {"name": "vib", "beta": 0.01, "width": 4}
    spec = write_spec(tmp_path, **QUICK, train__epochs=2, train__defense=defense)
    assert call("run", spec, "--out", tmp_path / "whole").exit_code == 0
    interrupted(tmp_path / "parts", monkeypatch, spec)
    assert call("run", spec, "--out", tmp_path / "parts", "--resume").exit_code == 0
    assert tables(tmp_path / "parts") == tables(tmp_path / "whole")


def test_a_model_that_ends_otherwise_is_refused_before_the_folder_is_touched(tmp_path):
    (tmp_path / "conv.py").write_text(
        "from torch import nn\n\ndef net():\n    return nn.Sequential(nn.Conv2d(1, 10, 8), nn.Flatten())\n"
    )
    vib = {"name": "vib", "beta": 1.0}
    spec = write_spec(tmp_path, **QUICK, train__defense=vib, model__entry="conv.py:net", model__args={})
    result = call("run", spec, "--out", tmp_path / "out")
    assert result.exit_code == 2
    assert "the last layer of the model is Conv2d 0, and this defense goes before a linear one" in result.output
    assert not (tmp_path / "out").exists()
