"""`ptaudit run` from the spec to the folder: what lies there, what it says, that it says it again."""

from __future__ import annotations

import json
import math
from xml.etree import ElementTree

import pandas as pd
import pytest
from audit_case import BASE, ONE_VIEW, TABLES, bits, call, start, tables, write_spec

import ptaudit
from ptaudit.spec.catalog import JOINT
from ptaudit.spec.load import load
from ptaudit.tables.folder import read_run
from ptaudit.tables.row import COLUMNS, find

FILES = {
    "spec.resolved.yaml", "manifest.json", "leakage.csv", "layers.csv", "epochs.csv", "layer_epoch.csv", "gates.json",
    "defenses.csv", "groups.csv", "summary.json", "timings.json", "report.md", "report.html", "bootstrap.npz",
}  # fmt: skip


# The folder


def test_every_file_is_there_and_nothing_else(whole):
    assert {path.name for path in whole.iterdir()} == FILES


def test_leakage_has_the_columns_of_the_contract(whole):
    table = pd.read_csv(whole / "leakage.csv")
    assert ",".join(table.columns) == (
        "epoch,step,layer,layer_index,layer_type,parameters,view,game,adversary,knowledge,knows,trained_with,metric,value,"
        "lo,hi,null,ceiling,detectable,n,status"
    )
    assert sorted(table["epoch"].unique()) == [0, 2]
    assert set(table["step"]) == {0, 2 * math.ceil(160 / 32)}
    assert set(table["layer"]) == {JOINT, "1", "3"}
    assert set(table["view"]) == {view["name"] for view in BASE["audit"]["views"]} | {"model"}
    assert set(table["game"]) == {"identity", "label", "membership"}
    assert (whole / "leakage.csv").read_bytes().count(b"\r") == 0


def test_every_number_carries_interval_null_ceiling_and_n(whole):
    for row in read_run(whole).rows:
        if row.measured:
            assert row.lo <= row.value <= row.hi <= row.ceiling
            assert math.isfinite(row.null)
            assert row.n >= 160
        else:
            assert row.status.startswith("inconclusive: ")
            assert math.isnan(row.value)
            assert "needs" in row.status


def test_every_layer_view_and_game_has_its_rows(whole):
    rows = read_run(whole).rows
    for epoch in (0, 2):
        for view in BASE["audit"]["views"]:
            for game in ("identity", "label"):
                for metric in ("bits", "accuracy"):
                    found = find(rows, epoch=epoch, view=view["name"], game=game, metric=metric)
                    assert [row.layer for row in found if row.adaptive] == [JOINT, "1", "3"]
                    static = [row.layer for row in found if not row.adaptive]
                    assert static == ([JOINT, "1", "3"] if "defense" in view else [])
        membership = find(rows, epoch=epoch, view="model", metric="auc")
        assert [(row.layer, row.adversary) for row in membership] == [
            (JOINT, "loss"), (JOINT, "gradient-norm"), (JOINT, "gradient-likelihood"),
            ("1", "gradient-norm"), ("1", "gradient-likelihood"), ("3", "gradient-norm"), ("3", "gradient-likelihood"),
        ]  # fmt: skip


def test_manifest_says_what_was_audited(whole):
    manifest = json.loads((whole / "manifest.json").read_text(encoding="utf-8"))
    assert manifest["status"] == "complete"
    assert (manifest["records"], manifest["members"], manifest["held_out"]) == (160, 160, 160)
    assert manifest["seeds"] == [0]
    assert manifest["device"] == "cpu"
    assert {"ptaudit", "python", "torch", "numpy", "audit_seed"} <= set(manifest)
    assert all(len(manifest[name]) == 64 for name in ("spec_sha256", "model_sha256", "data_sha256", "split_sha256"))
    assert manifest["started"] <= manifest["finished"]
    assert manifest["started"].endswith("+00:00")
    assert any("knows the weights" in line for line in manifest["threat_model"])


def test_timings_name_the_phases(whole):
    timings = json.loads((whole / "timings.json").read_text(encoding="utf-8"))
    assert set(timings) == {"training", "capture", "games", "game identity", "game label", "game membership"}
    assert sum(timings[f"game {name}"] for name in ("identity", "label", "membership")) <= timings["games"]
    assert all(seconds > 0 for seconds in timings.values())


def test_the_resolved_spec_is_the_spec_and_runs(whole, tmp_path):
    resolved = load(whole / "spec.resolved.yaml")
    assert resolved == load(whole.parent / "spec.yaml")
    result = call("run", whole / "spec.resolved.yaml", "--out", tmp_path / "again", "-q")
    assert result.exit_code == 0
    assert tables(tmp_path / "again") == tables(whole)


# What it says


def test_identity_bits_fall_with_noise_and_not_with_small_batches(whole):
    """Sums of few outer products name their terms: what a batch of four hides, only noise hides."""
    for epoch in (0, 2):
        for layer in (JOINT, "1", "3"):
            by_view = {
                v["name"]: bits(whole, view=v["name"], game="identity")[epoch, layer] for v in BASE["audit"]["views"]
            }
            assert by_view["record"] >= 0.98 * by_view["batch-2"]
            assert by_view["batch-4"] > 0.9 * by_view["record"]
            assert by_view["batch-2"] > by_view["dp-1"] > by_view["dp-4"] > 0.0


def test_label_bits_fall_with_the_batch_and_with_noise(whole):
    by_view = {v["name"]: bits(whole, view=v["name"], game="label")[2, JOINT] for v in BASE["audit"]["views"]}
    assert by_view["record"] > by_view["batch-2"] > by_view["batch-4"] > 0.2
    assert by_view["batch-2"] > by_view["dp-1"] > by_view["dp-4"]


def test_dp_rows_stay_below_the_capacity_of_the_channel(whole):
    rows = find(read_run(whole).rows, view="dp-4", game="identity", metric="bits", knowledge="adaptive")
    assert rows
    assert all(row.hi <= row.ceiling <= 0.73 / 16 for row in rows)


def test_all_layers_jointly_leak_no_less_than_the_best(whole):
    rows = [row for row in read_run(whole).rows if row.metric == "bits" and row.game != "membership" and row.adaptive]
    for joint in (row for row in rows if row.layer == JOINT):
        others = [r for r in rows if r.key[:1] + r.key[2:] == joint.key[:1] + joint.key[2:] and r.layer != JOINT]
        assert len(others) == 2
        assert joint.hi >= max(row.value for row in others) - 1e-3


def test_no_membership_signal_before_training(whole):
    rows = find(read_run(whole).rows, epoch=0, game="membership", metric="auc")
    assert sum(not row.lo <= 0.5 <= row.hi for row in rows) <= 1


# The Python face and determinism


@pytest.fixture(scope="module")
def audited(tmp_path_factory):
    home = tmp_path_factory.mktemp("audited")
    return ptaudit.audit(write_spec(home), out=home / "run")


def test_the_data_frames_are_the_files(audited):
    for name, frame in zip(TABLES, (audited.leakage, audited.layers, audited.epochs, audited.layer_epoch)):
        names = {column: str for column in frame if column == "layer" or column.endswith("worst_layer")}
        stored = pd.read_csv(audited.path / name, dtype=names)
        assert list(stored.columns) == list(frame.columns)
        pd.testing.assert_frame_equal(stored, frame, rtol=1e-5, check_dtype=False)
    assert audited.exit_code == 0
    assert audited.gates.empty
    assert tuple(audited.leakage.columns) == COLUMNS


def test_the_same_spec_gives_the_same_bytes(whole, audited):
    assert tables(audited.path) == tables(whole)


def test_another_process_gives_the_same_bytes(whole, tmp_path):
    process = start("run", whole.parent / "spec.yaml", "--out", tmp_path / "run")
    out, err = process.communicate(timeout=600)
    assert process.returncode == 0, err
    assert out.startswith("# ptaudit small")
    assert "epoch 2: loss" in err
    assert tables(tmp_path / "run") == tables(whole)


@pytest.mark.parametrize("change", [{"train__seed": 1}, {"audit__seed": 1}, {"data__seed": 1}])
def test_every_seed_matters(whole, tmp_path, change):
    noisy = [view for view in BASE["audit"]["views"] if view["name"] == "dp-1"]
    games = {"audit__games": ["identity"], "audit__epochs": [2], "audit__views": noisy}
    found = ptaudit.audit(write_spec(tmp_path, **games, **change), out=tmp_path / "run")
    assert bits(found.path)[2, "1"] != bits(whole, view="dp-1", game="identity")[2, "1"]


# Views and layers


def test_a_view_of_some_layers_has_those_and_their_joint_row(tmp_path):
    views = [{"name": "all", "batch_size": 2}, {"name": "head", "batch_size": 2, "layers": ["3"]}]
    path = write_spec(tmp_path, audit__views=views, audit__games=["identity"], audit__epochs=[2])
    found = ptaudit.audit(path, out=tmp_path / "run")
    all_layers, head = bits(found.path, view="all"), bits(found.path, view="head")
    assert set(all_layers) == {(2, JOINT), (2, "1"), (2, "3")}
    assert set(head) == {(2, JOINT), (2, "3")}
    assert head[2, "3"] == pytest.approx(all_layers[2, "3"], rel=0.1)
    assert head[2, JOINT] <= all_layers[2, JOINT] + 0.05
    joint = find(found.run.rows, view="head", layer=JOINT, metric="bits")[0]
    assert joint.parameters == 17 * 10


def test_audited_layers_are_those_of_the_patterns(tmp_path):
    path = write_spec(tmp_path, audit__layers=["3"], audit__epochs=[0], train__epochs=1, audit__views=ONE_VIEW)
    found = ptaudit.audit(path, out=tmp_path / "run")
    assert set(found.leakage["layer"]) == {JOINT, "3"}


# Gates


@pytest.mark.parametrize(("limit", "code", "word"), [(0.1, 1, "fail"), (1.0, 0, "pass")])
def test_run_decides_its_gates(tmp_path, limit, code, word):
    gate = {"id": "leak", "metric": "membership.auc", "view": "model", "over": "joint", "max": limit}
    path = write_spec(tmp_path, audit__views=ONE_VIEW, audit__games=["membership"], audit__epochs=[2], gates=[gate])
    result = call("run", path, "--out", tmp_path / "run")
    assert result.exit_code == code
    verdict = json.loads((tmp_path / "run" / "gates.json").read_text(encoding="utf-8"))[0]
    assert (verdict["outcome"], verdict["rows"]) == (word, 3)
    again = call("run", path, "--out", tmp_path / "run", "--resume")
    assert again.exit_code == code
    free = call("run", path, "--out", tmp_path / "free", "--no-gate")
    assert free.exit_code == 0


def test_a_gate_that_matches_no_row_does_not_cost_the_tables(tmp_path):
    """Nobody attacked the layer that is not captured, neither the exact adversary; the files of CI servers say so."""
    on = {"metric": "identity.bits", "view": "record"}
    gates = [
        {"id": "g", **on, "adversary": "exact", "over": "1", "max": 1.0},
        {"id": "ok", **on, "over": "4", "max": 9},
    ]
    path = write_spec(
        tmp_path, model__entry="models.py:batchnorm", audit__games=["identity"], audit__epochs=[2], gates=gates
    )
    files = {name: tmp_path / f"gates.{name}" for name in ("junit", "sarif", "csv", "json", "github")}
    outputs = [word for name, file in files.items() for word in ("--output", f"{name}={file}")]
    for _ in range(2):
        result = call("run", path, "--out", tmp_path / "run", "-q", "--resume", *outputs)
        assert result.exit_code == 2
        assert "gate g: no adversary matches `exact`" in result.stderr.splitlines()[-1]
        assert read_run(tmp_path / "run").rows
        text = {name: file.read_text(encoding="utf-8") for name, file in files.items()}
        cases = ElementTree.fromstring(text["junit"]).iter("testcase")
        assert {case.get("name"): case.find("error") is not None for case in cases} == {"ok": False, "g": True}
        (log,) = json.loads(text["sarif"])["runs"]
        assert [(one["ruleId"], one["level"]) for one in log["results"] if one["ruleId"] == "g"] == [("g", "error")]
        assert log["results"][1]["locations"][0]["physicalLocation"]["artifactLocation"]["uri"].endswith("spec.yaml")
        told = {gate["id"]: gate for gate in json.loads(text["json"])["gates"]}
        assert told["g"]["outcome"] == "error"
        assert told["ok"]["outcome"] != "error"
        rows = pd.read_csv(files["csv"]).set_index("id")
        assert rows.outcome["g"] == "error"
        assert "no adversary matches `exact`" in rows.reason["g"]
        assert "- gate g: no adversary matches" in text["github"]
        assert any(line.startswith("::error") and "gate g" in line for line in result.stderr.splitlines())
        files["github"].unlink()


# check


def test_check_reports_and_writes_nothing(whole, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    before = {path.name for path in whole.parent.iterdir()}
    report = ptaudit.auditing.check(whole.parent / "spec.yaml")
    assert (report.spec_name, report.device) == ("small", "cpu")
    assert [(layer.name, layer.type, layer.capture) for layer in report.layers] == [
        ("1", "Linear", "rule"), ("3", "Linear", "rule"),
    ]  # fmt: skip
    assert report.parameters == report.captured_parameters == 65 * 16 + 17 * 10
    assert (report.members, report.held_out, report.audited) == (160, 160, 160)
    assert set(report.estimate_seconds) == {"training", "capture", "games"}
    assert all(0 < seconds < 600 for seconds in report.estimate_seconds.values())
    assert 0 < report.step_seconds < 1
    assert report.memory_bytes > 1 << 20
    assert list(tmp_path.iterdir()) == []
    assert {path.name for path in whole.parent.iterdir()} - {"__pycache__"} == before - {"__pycache__"}


def test_check_warns_of_what_run_could_not_decide(tmp_path):
    views = [{"name": "big", "batch_size": 16}, {"name": "batch-6", "batch_size": 6}]
    report = ptaudit.auditing.check(write_spec(tmp_path, audit__views=views))
    (why,) = {one.why_not for one in report.limits if one.view == "big"}
    assert why == "needs 320 records for batches of 16, has 160 (512 advised)"
    assert "View batch-6 has 160 audited records; 192 are advised." in report.warnings
