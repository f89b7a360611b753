"""Mutual information, usable information, uniqueness and learned encoders, from a spec to the tables."""

from __future__ import annotations

import csv
import hashlib

import numpy as np
import pytest
import torch
from audit_case import ONE_VIEW, call, interrupt_at, tables, write_spec

from ptaudit.auditing.epoch_store import EpochStore
from ptaudit.auditing.opening import open_session
from ptaudit.games.mutual_information.info import MutualInformationGame
from ptaudit.games.mutual_information.play import _options
from ptaudit.spec.catalog import JOINT
from ptaudit.spec.load import load
from ptaudit.tables.folder import read_run
from ptaudit.tables.row import find

LAYERS = (JOINT, "1", "3")
NOISY = {"name": "dp", "batch_size": 2, "defense": {"name": "dp", "clip": 1.0, "noise_multiplier": 0.5}}


def run(folder, out, *flags, **changes):
    path = write_spec(folder, data__limit=800, train__epochs=1, audit__epochs=[1], **changes)
    result = call("run", path, "--out", out, "-q", *flags)
    assert result.exit_code == 0, result.output
    return read_run(out)


@pytest.fixture(scope="module")
def informed(tmp_path_factory):
    """A run with cheap estimators and all families."""
    home = tmp_path_factory.mktemp("information")
    games = [
        {"name": "mutual-information", "estimator": ["ksg", "gaussian", "sliced"], "features": "input"},
        {"name": "mutual-information", "id": "about-label", "estimator": ["ksg"], "features": "label"},
        {"name": "usable-information", "family": ["linear", "mlp", "knn"]},
        "uniqueness",
    ]
    views = [{"name": "record", "batch_size": 1}, *ONE_VIEW, NOISY]
    return run(home, home / "run", "--keep-records", audit__games=games, audit__views=views), home / "run"


def test_every_instrument_has_its_rows(informed):
    rows = informed[0].rows
    for view in ("record", "batch-2", "dp"):
        for estimator in ("ksg", "gaussian", "sliced"):
            found = find(rows, game="mutual-information", adversary=estimator, view=view)
            assert {(row.layer, row.metric) for row in found} == {
                (layer, metric) for layer in LAYERS for metric in ("bits", "matched_minus_mismatched_bits")
            }
        assert {row.layer for row in find(rows, game="about-label", view=view, metric="bits")} == set(LAYERS)
        for family in ("linear", "mlp", "knn"):
            found = find(rows, game="usable-information", adversary=family, view=view)
            assert {(row.layer, row.metric) for row in found} == {
                (layer, metric) for layer in LAYERS for metric in ("bits", "accuracy")
            }
    assert {row.layer for row in find(rows, game="uniqueness", view="model")} == set(LAYERS)


def test_numbers_lie_where_they_must(informed):
    for row in informed[0].rows:
        if row.measured and row.metric in ("bits", "accuracy", "top_share"):
            assert 0.0 <= row.lo <= row.value <= row.hi
            assert not row.value > row.ceiling
    assert all(row.measured for row in informed[0].rows)


def test_the_label_is_read_from_one_record_and_less_from_two(informed):
    """The last layer's gradient is (softmax - label) x activations: it shows the label of a single record."""
    rows = informed[0].rows
    one, two, noisy = (
        find(rows, game="usable-information", adversary="linear", view=view, layer="3", metric="bits")[0]
        for view in ("record", "batch-2", "dp")
    )
    assert one.lo > 1.5
    assert one.lo > two.hi
    assert two.lo > 0.0
    assert noisy.value < two.value
    said = find(rows, game="about-label", view="record", layer="3", metric="bits")[0]
    assert said.value == pytest.approx(one.ceiling, abs=0.8)


def test_known_noise_gives_an_upper_bound_above_every_estimate(informed):
    rows = informed[0].rows
    bounds = find(rows, adversary="gaussian-channel")
    assert {(row.view, row.layer, row.metric) for row in bounds} == {("dp", layer, "upper_bits") for layer in LAYERS}
    for row in bounds:
        d, sigma = row.parameters, 0.5
        assert row.value == pytest.approx(d / 2 * np.log2(1 + 1 / (d * sigma**2)), rel=1e-4)
        below = find(rows, view="dp", layer=row.layer, metric="bits", game="mutual-information")
        assert all(other.lo <= row.value for other in below)


def test_scores_of_single_records_have_hashed_names(informed):
    run, folder = informed
    with (folder / "samples.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == run.manifest["records"] == 400
    session = open_session(load(folder / "spec.resolved.yaml"), torch.device("cpu"))
    assert [row["record"] for row in rows] == [session.name_of(index) for index in session.members.tolist()]
    # Nothing in the folder makes these names: neither the hash of the data nor a seed.
    for told in (run.manifest["data_sha256"], run.manifest["split_sha256"], str(run.manifest["audit_seed"])):
        others = {hashlib.sha256(f"{told}:{index}".encode()).hexdigest()[:16] for index in range(800)}
        assert not others & {row["record"] for row in rows}
    ranks = sorted(float(row["value"]) for row in rows)
    assert (ranks[0], ranks[-1]) == (0.0, 1.0)
    assert np.mean(ranks) == pytest.approx(0.5, abs=1e-3)


def test_nothing_of_single_records_is_kept_unasked(tmp_path):
    run(tmp_path, tmp_path / "run", audit__games=["uniqueness"])
    assert not (tmp_path / "run" / "samples.csv").exists()
    refused = call("run", write_spec(tmp_path, audit__games=["label"]), "--keep-records", "--out", tmp_path / "other")
    assert refused.exit_code == 2
    assert "no game here scores single records" in refused.stderr


def test_every_critic_runs_from_a_spec(tmp_path):
    game = {"name": "mutual-information", "estimator": ["infonce", "nwj", "mine", "smile"], "features": "activations"}
    rows = run(tmp_path, tmp_path / "run", audit__games=[game], audit__views=ONE_VIEW).rows
    for name in game["estimator"]:
        found = find(rows, adversary=name, metric="bits")
        assert {row.layer for row in found} == set(LAYERS)
        assert all(row.measured for row in found)
    joint = find(rows, adversary="infonce", metric="bits", layer=JOINT)[0]
    assert joint.lo > joint.null


def interrupt_while_kept(monkeypatch, epoch):
    """When the encoders of an epoch are on disk, and its rows are not."""
    honest = EpochStore.save

    def disturbed(self, number, *rest):
        if number == epoch:
            raise KeyboardInterrupt
        honest(self, number, *rest)

    monkeypatch.setattr(EpochStore, "save", disturbed)


@pytest.mark.parametrize("encoder", ["autoencoder", "transformer"])
def test_learned_tokens_are_used_kept_and_resumed(tmp_path, monkeypatch, encoder):
    changes = {
        "data__limit": 800,
        "train__epochs": 5,
        "audit__epochs": [0, 2, 5],
        "audit__views": ONE_VIEW,
        "audit__tokens": {"dim": 16, "encoder": encoder},
        "audit__games": [{"name": "mutual-information", "estimator": "gaussian"}, "usable-information", "uniqueness"],
    }
    path = write_spec(tmp_path, **changes)
    assert call("run", path, "--out", tmp_path / "whole", "-q", "--keep-records").exit_code == 0
    with monkeypatch.context() as patch:
        interrupt_while_kept(patch, 5)
        assert call("run", path, "--out", tmp_path / "run", "-q", "--keep-records").exit_code == 130
    assert call("run", path, "--out", tmp_path / "run", "-q", "--keep-records", "--resume").exit_code == 0
    assert tables(tmp_path / "run") == tables(tmp_path / "whole")
    for name in ("samples.csv", "encoders/seed-0-batch-2.safetensors"):
        assert (tmp_path / "run" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    rows = read_run(tmp_path / "whole").rows
    label = find(rows, epoch=5, game="usable-information", layer="3", metric="bits")[0]
    assert label.lo > 0.0
    assert label.n == 200  # the other half trained the encoder


def test_a_view_too_large_for_half_of_the_records_is_inconclusive(tmp_path):
    games = [{"name": "mutual-information", "estimator": "gaussian"}, "usable-information"]
    views = [{"name": "large", "batch_size": 16}]
    tokens = {"dim": 16, "encoder": "autoencoder"}
    rows = run(tmp_path, tmp_path / "run", audit__games=games, audit__views=views, audit__tokens=tokens).rows
    assert rows
    assert all("needs 320 records" in row.status and "the other half trains the encoder" in row.status for row in rows)


def test_a_damaged_encoder_is_named(tmp_path, monkeypatch):
    changes = {"audit__epochs": [0, 1, 2], "audit__views": ONE_VIEW, "audit__games": ["usable-information"]}
    path = write_spec(tmp_path, audit__tokens={"dim": 16, "encoder": "autoencoder"}, **changes)
    with monkeypatch.context() as patch:
        interrupt_at(patch, 2)
        assert call("run", path, "--out", tmp_path / "run", "-q").exit_code == 130
    (state,) = (tmp_path / "run" / ".resume" / "seed-0").glob("encoder-000001-*")
    state.write_bytes(b"nothing")
    result = call("run", path, "--out", tmp_path / "run", "-q", "--resume")
    assert result.exit_code == 2
    assert "the learned encoder is damaged" in result.stderr


def test_an_estimator_gets_the_options_of_the_spec_that_it_takes():
    game = MutualInformationGame(
        name="mutual-information", estimator=["ksg", "gaussian", "infonce"], neighbours=5, critic="joint"
    )
    assert [_options(game, name) for name in game.estimator] == [{"neighbours": 5}, {}, {"critic": "joint"}]
