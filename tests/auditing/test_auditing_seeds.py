"""Several seeds: one table each, one pooled table with the noise of retraining, and a comparison of two runs."""

from __future__ import annotations

import json

import numpy as np
import pytest
from audit_case import ONE_VIEW, call, write_spec

from ptaudit.tables.folder import read_leakage, read_run
from ptaudit.tables.row import find


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Folders of runs with seeds 0 and 1, with seeds 2 and 3, and with seed 0 alone."""
    home = tmp_path_factory.mktemp("seeds")
    path = write_spec(home, audit__views=ONE_VIEW, audit__epochs=[1, 2])
    for name, seeds in (("one", "[0, 1]"), ("two", "[2, 3]"), ("alone", "[0]")):
        result = call("run", path, "--out", home / name, "--set", f"train.seeds={seeds}", "-q")
        assert result.exit_code == 0, result.output
    return home / "one", home / "two", home / "alone"


def test_each_seed_has_its_own_table(runs):
    one, _, alone = runs
    assert {path.name for path in (one / "seeds").iterdir()} == {"0", "1"}
    assert (one / "seeds" / "0" / "leakage.csv").read_bytes() == (alone / "leakage.csv").read_bytes()
    assert not (alone / "seeds").exists()
    assert json.loads((one / "manifest.json").read_text(encoding="utf-8"))["seeds"] == [0, 1]


def test_pooled_values_are_means_with_the_noise_of_retraining(runs):
    one, _, alone = runs
    seeds = [read_leakage(one / "seeds" / seed / "leakage.csv") for seed in ("0", "1")]
    pooled = read_run(one).rows
    assert [row.key for row in pooled] == [row.key for row in read_run(alone).rows]
    widths = []
    for row, *each in zip(pooled, *seeds):
        assert row.measured == all(seed.measured for seed in each)
        if not row.measured:
            continue
        # A seed below 0 is written as 0, and counts with what it is: near 0 the mean of what is written is above.
        assert row.value == pytest.approx(np.mean([seed.value for seed in each]), rel=1e-3, abs=5e-3)
        widths.append((row.hi - row.lo) / max(np.mean([seed.hi - seed.lo for seed in each]), 1e-9))
    assert np.median(widths) > 1.2
    assert min(widths) > 0.99


def test_epochs_are_means_over_the_seeds(runs):
    one, _, alone = (read_run(folder) for folder in runs)
    assert [entry.epoch for entry in one.epochs] == [0, 1, 2]
    assert one.epochs[2].train_loss != alone.epochs[2].train_loss


def test_compare_of_two_runs_of_one_spec_finds_nothing(runs):
    """Two seeds a side: retraining alone must not look like a change, and the comparison is not one of one seed."""
    one, two, _ = runs
    result = call("compare", one, two, "--format", "json", "--all")
    assert result.exit_code == 0, result.output
    changes = json.loads(result.stdout)["changes"]
    decided = [change for change in changes if change["verdict"] != "not comparable"]
    assert len(decided) > 20
    assert sum(change["verdict"] != "within noise" for change in decided) <= 0.1 * len(decided)


def test_compare_of_a_noisy_view_finds_less_leakage(runs, tmp_path):
    """With one seed a side, marked and said to be so."""
    alone = runs[2]
    views = [{"name": "batch-2", "batch_size": 2, "defense": {"name": "dp", "clip": 1.0, "noise_multiplier": 0.3}}]
    path = write_spec(tmp_path, audit__epochs=[1, 2], audit__views=views, audit__games=["identity"])
    assert call("run", path, "--out", tmp_path / "noisy", "-q").exit_code == 0
    changes = json.loads(call("compare", alone, tmp_path / "noisy", "--format", "json").stdout)["changes"]
    of_identity = [c for c in changes if (c["game"], c["metric"]) == ("identity", "bits")]
    assert [change["verdict"] for change in of_identity] == ["better?"] * 6
    assert "one seed: retraining noise not included" in call("compare", alone, tmp_path / "noisy").stdout


def test_seeds_of_which_one_diverged_are_not_pooled_as_if_whole(tmp_path):
    """The first seed is whole, the second diverges: its epochs are kept, and say what is missing."""
    path = write_spec(tmp_path, audit__views=ONE_VIEW, audit__epochs=[0, 2], audit__games=["identity"])
    loss = """
import torch
from torch.nn.functional import cross_entropy
steps = []
def bad_later(output, target):
    # 10 training steps a seed; those of the second seed are no numbers from its epoch 2 on.
    losses = cross_entropy(output, target, reduction="none")
    if torch.is_grad_enabled() and len(target) == 32 and output.requires_grad:
        steps.append(1)
        if len(steps) > 17:
            losses = losses * float("nan")
    return losses
"""
    (tmp_path / "loss.py").write_text(loss, encoding="utf-8")
    result = call(
        "run", path, "--out", tmp_path / "run", "--set", "train.seeds=[0, 1]", "--set", "train.loss=loss.py:bad_later",
        "--set", "audit.records=100", "-q",
    )  # fmt: skip
    assert result.exit_code == 2, result.output
    run = read_run(tmp_path / "run")
    assert str(run.manifest["status"]).startswith("diverged: the training loss is nan in epoch 2")
    assert all(row.measured for row in find(run.rows, epoch=0))
    assert all(row.status == "inconclusive: measured with 1 of 2 seeds" for row in find(run.rows, epoch=2))
