"""A family of classifiers of somebody else's: one function and a line in the registry."""

from __future__ import annotations

import sys

import pandas as pd
import pytest
import yaml
from typer.testing import CliRunner

from ptaudit.attacks.registry import OF_BATCHES
from ptaudit.cli import app

MODULE = '''
import torch

def certain_of_the_first(known, secrets, values, unseen, seed):
    """Says of every observation the same, whichever of the V versions of the secrets it learned."""
    rows, n = unseen.shape[:2]
    said = torch.zeros(len(secrets), 1, rows, n, values, dtype=torch.float64)
    said[..., 0] = 1.0
    return said
'''
MODEL = """
from torch import nn
def net():
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 8), nn.ReLU(), nn.Linear(8, 10))
"""
SPEC = {
    "version": 1,
    "name": "guessed",
    "model": {"entry": "model.py:net"},
    "data": {"source": "sklearn:digits", "limit": 480},
    "train": {"epochs": 1, "batch_size": 32, "optimizer": {"name": "sgd", "lr": 0.1}},
    "audit": {
        "epochs": [1],
        "tokens": {"dim": 16},
        "views": [{"name": "pair", "batch_size": 2}],
        "games": [
            {"name": "property", "secret": "label", "values": [0, 1, 2], "adversary": ["guess", "linear"],
             "fit_batches": 512},
        ],
    },
    "gates": [
        {"id": "guess", "metric": "property.bits", "view": "pair", "adversary": "guess", "over": "joint", "max": 1},
    ],
}  # fmt: skip


@pytest.fixture
def guess(tmp_path, monkeypatch):
    (tmp_path / "guesses.py").write_text(MODULE)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setitem(OF_BATCHES, "guess", "guesses:certain_of_the_first")
    yield
    sys.modules.pop("guesses", None)


def test_a_new_family_is_asked_gated_and_in_the_schema(guess, tmp_path):
    (tmp_path / "model.py").write_text(MODEL)
    (tmp_path / "spec.yaml").write_text(yaml.safe_dump(SPEC))
    result = CliRunner().invoke(app, ["run", str(tmp_path / "spec.yaml"), "--out", str(tmp_path / "run")])
    assert result.exit_code == 0, result.output
    rows = pd.read_csv(tmp_path / "run" / "leakage.csv")
    bits = rows[rows.metric == "bits"].set_index(["adversary", "layer"]).value
    assert bits["guess", "*"] == pytest.approx(0.0, abs=0.01)  # the same of every batch says nothing
    assert bits["linear", "*"] > 0.05
    assert '"guess"' in CliRunner().invoke(app, ["schema"]).output


def test_without_it_the_name_is_unknown(tmp_path):
    (tmp_path / "spec.yaml").write_text(yaml.safe_dump(SPEC))
    result = CliRunner().invoke(app, ["check", str(tmp_path / "spec.yaml")])
    assert result.exit_code == 2
    assert "'knn' or 'forest', given the text 'guess'" in result.output.replace("\n", " ")
