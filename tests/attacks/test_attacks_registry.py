"""A family of classifiers of somebody else's: one function and a line in the registry."""

from __future__ import annotations

import sys

import pandas as pd
import pytest
from audit_case import ONE_VIEW, call, write_spec

from ptaudit.attacks.registry import OF_BATCHES

MODULE = '''
import torch

def certain_of_the_first(known, secrets, values, unseen, seed):
    """Says of every observation the same, whichever of the V versions of the secrets it learned."""
    rows, n = unseen.shape[:2]
    said = torch.zeros(len(secrets), 1, rows, n, values, dtype=torch.float64)
    said[..., 0] = 1.0
    return said
'''
GAME = {
    "name": "property", "secret": "label", "values": [0, 1, 2], "adversary": ["guess", "linear"], "fit_batches": 512
}  # fmt: skip
GATE = {"id": "guess", "metric": "property.bits", "view": "batch-2", "adversary": "guess", "over": "joint", "max": 1}
CHANGES = {
    "data__limit": 480, "train__epochs": 1, "audit__epochs": [1], "audit__views": ONE_VIEW, "audit__games": [GAME],
    "gates": [GATE],
}  # fmt: skip


@pytest.fixture
def guess(tmp_path, monkeypatch):
    (tmp_path / "guesses.py").write_text(MODULE)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setitem(OF_BATCHES, "guess", "guesses:certain_of_the_first")
    yield
    sys.modules.pop("guesses", None)


def test_a_new_family_is_asked_gated_and_in_the_schema(guess, tmp_path):
    result = call("run", write_spec(tmp_path, **CHANGES), "--out", tmp_path / "run")
    assert result.exit_code == 0, result.output
    rows = pd.read_csv(tmp_path / "run" / "leakage.csv")
    bits = rows[rows.metric == "bits"].set_index(["adversary", "layer"]).value
    assert bits["guess", "*"] == pytest.approx(0.0, abs=0.01)  # the same of every batch says nothing
    assert bits["linear", "*"] > 0.05
    assert '"guess"' in call("schema").output


def test_without_it_the_name_is_unknown(tmp_path):
    result = call("check", write_spec(tmp_path, **CHANGES))
    assert result.exit_code == 2
    assert "'knn' or 'forest', given the text 'guess'" in result.output.replace("\n", " ")
