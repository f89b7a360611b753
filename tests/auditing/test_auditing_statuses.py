"""What rows of a whole audit say of what limits them, and what gates make of it."""

from __future__ import annotations

import json
import math

import pytest
from audit_case import call, write_spec

from ptaudit.stats.estimate import NEARLY_ALL
from ptaudit.tables.folder import read_run
from ptaudit.tables.row import find

NOISY = {"name": "dp", "batch_size": 2, "defense": {"name": "dp", "clip": 1.0, "noise_multiplier": 1.0}}
VIEWS = [{"name": "batch-6", "batch_size": 6}, NOISY]
GAMES = ["identity", "label", "membership", {"name": "mutual-information", "estimator": "gaussian"}]
GATE = {"metric": "label.bits", "over": "1", "epoch": "last", "max": 3.3}
GATES = [
    {"id": "bare", "view": "batch-6", **GATE},
    {"id": "bare-needs", "view": "batch-6", "needs": "mechanism", **GATE},
    {"id": "noisy-needs", "view": "dp", "needs": "mechanism", **GATE},
]


@pytest.fixture(scope="module")
def ended(tmp_path_factory):
    home = tmp_path_factory.mktemp("statuses")
    path = write_spec(
        home, audit__views=VIEWS, audit__games=GAMES, audit__epochs=[2], defenses=[{"name": "sign"}], gates=GATES
    )
    result = call("run", path, "--out", home / "run", "-q")
    assert result.exit_code == 3, result.output
    return home / "run"


def test_rows_without_noise_far_from_their_ceiling_are_limited_by_their_adversary(ended):
    rows = [row for row in read_run(ended).rows if row.measured and row.adaptive]
    bare = [row for row in rows if row.view == "batch-6" and row.adversary != "exact" and row.metric != "noise_half"]
    far = [row for row in bare if row.value < NEARLY_ALL * row.ceiling]
    assert far
    assert {row.status for row in far}.isdisjoint({"ok"})
    assert {"none", "sign"} == {row.trained_with for row in far if row.status == "attack-limited"}
    assert not [row for row in rows if row.status == "attack-limited" and row.view == "model"]
    noisy = [row for row in rows if row.view == "dp" and row.game != "mutual-information"]
    assert noisy
    assert "attack-limited" not in {row.status for row in noisy}


def test_information_never_stands_as_ok_below_the_bits_of_the_identity_game(ended):
    rows = read_run(ended).rows
    compared = 0
    for row in find(rows, game="mutual-information", metric="bits"):
        place = {"layer": row.layer, "view": row.view, "trained_with": row.trained_with, "knowledge": "adaptive"}
        identity = max((r.value for r in find(rows, game="identity", metric="bits", **place) if r.measured), default=0)
        compared += row.measured and row.value < identity
        assert not (row.status == "ok" and row.value < identity)
    assert compared


def test_every_measured_row_says_what_it_could_have_shown(ended):
    for row in read_run(ended).rows:
        known = row.measured and math.isfinite(row.null) and row.metric not in ("upper_bits", "noise_half")
        assert math.isfinite(row.detectable) == known
        assert not known or row.detectable >= row.null


def test_gates_without_noise_say_so_and_do_not_pass_where_it_is_needed(ended):
    verdicts = {verdict["id"]: verdict for verdict in json.loads((ended / "gates.json").read_text())}
    assert {name: verdict["outcome"] for name, verdict in verdicts.items()} == {
        "bare": "pass", "bare-needs": "inconclusive", "noisy-needs": "pass",
    }  # fmt: skip
    assert (verdicts["bare"]["limited"], verdicts["noisy-needs"]["limited"]) == (1, 0)
    result = call("gate", ended, "--format", "plain")
    assert "bare: passed, but nothing but this adversary limits these rows" in " ".join(result.stdout.split())


def test_evidence_of_a_real_run_holds(ended, tmp_path):
    """Tables keep resamples in float32: bounds that are derived again differ in their last digits alone."""
    assert call("evidence", ended, "--out", tmp_path / "evidence").exit_code == 0
    result = call("verify", tmp_path / "evidence")
    assert result.exit_code == 0, result.output
