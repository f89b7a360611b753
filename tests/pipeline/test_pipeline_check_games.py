"""What `check` says of the newer games: their seconds, and the records that they need."""

# ruff: noqa: E501 - a table is easier to read with one row in a line

from __future__ import annotations

import json

import pytest
from audit_case import call, write_spec

from ptaudit.pipeline import check

BATCH_16 = [{"name": "batch-16", "batch_size": 16}]


@pytest.mark.parametrize("encoder", ["sketch", "autoencoder"])
def test_the_seconds_of_the_games_are_about_those_of_the_run(tmp_path, encoder):
    """Within a factor of five, on a machine that does other things too; of a few hundredths it was once."""
    games = ["mutual-information", "usable-information"]
    changes = {"data__limit": None, "train__epochs": 1, "audit__epochs": [1], "audit__views": BATCH_16}
    path = write_spec(tmp_path, audit__games=games, audit__tokens={"dim": 16, "encoder": encoder}, **changes)
    report = check(path)
    assert report.audited == 899
    assert call("run", path, "--out", tmp_path / "run", "-q").exit_code == 0
    spent = json.loads((tmp_path / "run" / "timings.json").read_text(encoding="utf-8"))["games"]
    assert spent / 5 < report.estimate_seconds["games"] < 5 * spent


def test_a_spec_without_views(tmp_path):
    report = check(write_spec(tmp_path, audit__views=[], audit__games=["uniqueness", "membership"]))
    assert report.estimate_seconds["games"] > 0
    assert not any(warning.startswith("View") for warning in report.warnings)


@pytest.mark.parametrize("missing", [{"batch_size": 64}, {"batch_size": 1, "layers": ["3"]}])
def test_views_that_the_sample_is_too_small_for_and_partial_ones(tmp_path, missing):
    games = ["identity", {"name": "mutual-information", "estimator": "gaussian"}, "usable-information"]
    report = check(write_spec(tmp_path, audit__views=[{"name": "it", **missing}], audit__games=games))
    assert report.estimate_seconds["games"] > 0


def record_warnings(tmp_path, games, batch_size, encoder="autoencoder"):
    """Of 160 audited records."""
    views = [{"name": "it", "batch_size": batch_size}]
    tokens = {"dim": 16, "encoder": encoder}
    report = check(write_spec(tmp_path, audit__games=games, audit__views=views, audit__tokens=tokens))
    return [warning for warning in report.warnings if warning.startswith("View")]


CHEAP = {"name": "mutual-information", "estimator": "gaussian"}
HALF = "(half of them train the encoder)"


@pytest.mark.parametrize(
    ("games", "batch_size", "encoder", "expected"),
    [
        ([CHEAP], 5, "sketch", []),
        ([CHEAP], 5, "autoencoder", [f"View it will be inconclusive: it needs 200 audited records {HALF}, there are 160."]),
        ([CHEAP], 3, "autoencoder", [f"View it has 160 audited records; 192 are advised {HALF}."]),
        (["identity", CHEAP], 5, "autoencoder", [f"View it will be inconclusive for mutual-information: it needs 200 audited records {HALF}, there are 160."]),
        (["uniqueness"], 16, "sketch", []),
    ],
)  # fmt: skip
def test_an_encoder_takes_half_of_the_records(tmp_path, games, batch_size, encoder, expected):
    assert record_warnings(tmp_path, games, batch_size, encoder) == expected
