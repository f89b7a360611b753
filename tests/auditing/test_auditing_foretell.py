"""What a check foretells, against what the run then prints."""

from __future__ import annotations

import math

import pytest
import torch
from audit_case import ONE_VIEW, call, write_spec

from ptaudit.auditing.foretell import foretell
from ptaudit.auditing.opening import open_session
from ptaudit.auditing.warnings.subject import Subject
from ptaudit.report.limits import limits_block
from ptaudit.spec.load import load
from ptaudit.tables.folder import read_run
from ptaudit.tables.run import LayerEntry

QUICK = {"train__epochs": 1, "audit__epochs": [1], "audit__views": ONE_VIEW}
LAYERS = (LayerEntry("1", 0, "Linear", 1040, "rule", ""), LayerEntry("3", 1, "Linear", 170, "rule", ""))


def foretold(path):
    """Of a spec, as `check` does: limits of games, and of gates."""
    session = open_session(load(path), torch.device("cpu"))
    return foretell(Subject(session, torch.nn.Identity(), layers=LAYERS))


def joint_rows(path, run):
    """Of adversaries who know what they look at."""
    result = call("run", path, "--out", run, "-q", "--no-gate")
    assert result.exit_code == 0, result.output
    return [row for row in read_run(run).rows if row.layer == "*" and row.adaptive]


def about(entry, row):
    """Whether an entry foretells a row; entries of some adversaries go before those of all."""
    there = (entry.game, entry.view) == (row.game, row.view) and entry.metric in ("", row.metric)
    return there and (not entry.adversaries or row.adversary in entry.adversaries)


def entry_of(limits, row):
    mine = [entry for entry in limits if about(entry, row)]
    return max(mine, key=lambda entry: len(entry.adversaries) > 0) if mine else None


def test_limits_are_about_those_that_the_run_prints(tmp_path):
    """Of shares and areas within a factor of two; of bits not above: these are of who finds so much."""
    views = [{"name": "batch-4", "batch_size": 4}]
    games = ["identity", {"name": "label", "fit_batches": 512}, "membership"]
    path = write_spec(tmp_path, **{**QUICK, "audit__views": views, "audit__games": games})
    limits, _ = foretold(path)
    ratios = {}
    for row in joint_rows(path, tmp_path / "run"):
        entry = entry_of(limits, row)
        if entry is None or not math.isfinite(entry.detectable) or not math.isfinite(row.detectable):
            continue
        assert entry.ceiling == pytest.approx(row.ceiling, rel=0.05), row
        assert entry.n == pytest.approx(row.n, abs=2), row
        ratios[row.game, row.adversary, row.metric] = (row.detectable - row.null) / (entry.detectable - entry.null)
    assert {game for game, _, _ in ratios} == {"identity", "label", "membership"}
    shares = [ratio for key, ratio in ratios.items() if key[2] != "bits"]
    assert len(shares) == 8
    assert all(0.5 < ratio < 2.0 for ratio in shares), ratios
    assert all(ratio < 2.0 for ratio in ratios.values()), ratios


FEW = {"name": "property", "secret": "label", "values": [3]}


@pytest.mark.parametrize(
    "changes",
    [
        {"audit__tokens": {"dim": 256}, "audit__games": ["uniqueness", FEW]},
        {"audit__games": ["membership"], "fleet": {"models": 2}},
        {"audit__games": ["membership", "label"], "data__held_out": 0.05},
        {"audit__games": ["identity", "usable-information"], "audit__views": [{"name": "big", "batch_size": 16}]},
    ],
    ids=["too-few-records-for-the-tokens", "too-few-models", "hardly-anyone-held-out", "too-large-a-batch"],
)
def test_what_is_inconclusive_whatever_leaks_is_foretold_and_nothing_else(tmp_path, changes):
    path = write_spec(tmp_path, **{**QUICK, **changes})
    limits, _ = foretold(path)
    rows = joint_rows(path, tmp_path / "run")
    found = {(row.game, row.adversary, row.metric) for row in rows if row.status.startswith("inconclusive")}
    entries = {(row.game, row.adversary, row.metric): entry_of(limits, row) for row in rows}
    told = {key for key, entry in entries.items() if entry is not None and entry.why_not}
    assert found
    assert told == found


def test_a_replay_of_nobody_knows_whom_tells_nothing_of_membership(tmp_path):
    (tmp_path / "ck").mkdir()
    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 16), torch.nn.ReLU(), torch.nn.Linear(16, 10))
    torch.save(model.state_dict(), tmp_path / "ck" / "epoch1.pt")
    changes = {**QUICK, "audit__games": ["membership"], "replay": {"checkpoints": "ck/*.pt"}}
    del changes["train__epochs"]
    path = write_spec(tmp_path, **changes, train=None)
    (entry,), _ = foretold(path)
    assert entry.metric == ""
    assert "name it in data.members" in entry.why_not
    rows = joint_rows(path, tmp_path / "run")
    assert rows
    assert {row.status for row in rows} == {f"inconclusive: {entry.why_not}"}


def gates_of(tmp_path, gates, **changes):
    games = ["identity", "membership", "uniqueness"]
    _, told = foretold(write_spec(tmp_path, **{**QUICK, "audit__games": games, "gates": gates, **changes}))
    return {one.gate: one for one in told}


def test_gates_that_so_few_records_cannot_decide_are_named_with_how_many_would(tmp_path):
    on = {"metric": "membership.auc", "view": "model"}
    gates = [
        {"id": "tight", **on, "max": 0.55},
        {"id": "wide", **on, "max": 0.75},
        {"id": "tail", "metric": "membership.tpr_at_fpr_0.001", "view": "model", "max": 0.01},
        {"id": "share", "metric": "identity.bits", "view": "batch-2", "over": "joint", "max_share": 0.01},
        {"id": "loose", "metric": "identity.bits", "view": "batch-2", "over": "joint", "max": 2},
        {"id": "worse", **on, "max_increase": 0.01},
    ]
    told = gates_of(tmp_path, gates)
    assert set(told) == {"tight", "tail", "share"}
    assert "0.55 is below what 320 records can tell from a guess (about 0.61)" in told["tight"].text
    assert told["tail"].text.endswith("will be inconclusive: FPR 0.001 needs 5000 non-members, there are 160")
    assert told["tail"].needed is None
    more = gates_of(tmp_path, gates, data__limit=None, audit__records=told["tight"].needed // 2)
    assert "tight" not in more


def test_a_gate_over_more_rows_needs_more(tmp_path):
    gate = {"metric": "identity.bits", "view": "batch-2", "max": 0.03}
    told = gates_of(tmp_path, [{"id": "one", **gate, "over": "joint"}, {"id": "all", **gate, "over": "all"}])
    assert told["one"].needed < told["all"].needed
    assert "in one of 3 rows" in told["all"].text


def test_sentences_name_what_could_be_seen_in_the_metrics_own_unit(tmp_path):
    games = ["identity", "membership", {"name": "mutual-information", "estimator": "gaussian"}]
    views = [{"name": "a", "batch_size": 2}, {"name": "b", "batch_size": 4}]
    limits, gates = foretold(write_spec(tmp_path, **{**QUICK, "audit__games": games, "audit__views": views}))
    lines = [line.text for line in limits_block(limits, gates).lines]
    assert lines[0].startswith(
        "identity on a, b: 160 records cannot tell from a guess: bits below 0.11 (a guess: 0, of"
    )
    assert any("320 records cannot tell from a guess: auc below 0.58 (a guess: 0.5)" in line for line in lines)
    assert "mutual-information on a, b: only known after the run" in lines
    rates = "membership.tpr_at_fpr_0.01: inconclusive, whatever leaks: FPR 0.01 needs 500 non-members, there are 160"
    assert rates in lines
    assert gates == ()
