"""Scores of single records cannot be had from the folder of a run that did not keep them."""

import csv
import json

import numpy as np
import torch
from audit_case import call, write_spec

from ptaudit.auditing.opening import open_session
from ptaudit.spec.load import load
from ptaudit.stats.bootstrap import resample_weights


def explained(draws, weights):
    """Share of the variance of draws `(B,)` that scores of single records explain under some weights `(B, n)`."""
    centred = draws - draws.mean()
    scores = np.linalg.lstsq(weights - weights.mean(0), centred, rcond=1e-9)[0]
    return 1.0 - np.square(centred - (weights - weights.mean(0)) @ scores).sum() / np.square(centred).sum()


def test_resamples_of_a_folder_give_no_score_of_a_record(tmp_path):
    out = tmp_path / "run"
    assert call("run", write_spec(tmp_path, audit__games=["label"]), "--out", out).exit_code == 0
    with (out / "leakage.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    saved = np.load(out / "bootstrap.npz")
    public = json.loads((out / "manifest.json").read_text())["audit_seed"]
    private = open_session(load(out / "spec.resolved.yaml"), torch.device("cpu")).seed
    tried = 0
    for draws, row in zip(saved["draws"].astype(float), saved["rows"], strict=True):
        n = int(rows[row]["n"])
        if draws.std() == 0.0:
            continue
        tried += 1
        assert explained(draws, resample_weights(n, len(draws), public)) < 0.75  # n of 1,000 numbers explain n/1,000
        assert explained(draws, resample_weights(n, len(draws), private)) < 0.75  # nor does who has the records too
        assert np.linalg.matrix_rank(saved["draws"].astype(float), tol=1e-4) < n
    assert tried > 3
