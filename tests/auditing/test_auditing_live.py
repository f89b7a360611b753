"""Watching a training: within its budget, with flat memory, and without changing a bit of it."""

from __future__ import annotations

import copy
import csv
import re

import numpy as np
import pytest
import torch
from audit_case import ONE_VIEW, call, interrupt_at, tables, write_spec
from torch import nn
from torch.nn import functional as F

from ptaudit.auditing import live
from ptaudit.auditing.live import COLUMNS, MIXED, LiveLog, LiveRow, LiveWatch, publish
from ptaudit.auditing.overhead_budget import OverheadBudget
from ptaudit.auditing.recent_tokens import Window
from ptaudit.gradients.layers import LayerInfo
from ptaudit.sketches.live import LiveTokens
from ptaudit.stats.estimate import Estimate, inconclusive
from ptaudit.tables.folder import RESUME

LIVE = {"budget": 1.0}


def rows_of(folder):
    with (folder / live.LIVE).open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def layers(*names):
    return tuple(LayerInfo(name, i, "Linear", 1, "rule") for i, name in enumerate(names))


def net(norm=False):
    middle = [nn.BatchNorm1d(8)] if norm else [nn.Dropout(0.5)]
    return nn.Sequential(nn.Linear(6, 8), nn.ReLU(), *middle, nn.Linear(8, 3))


class Training:
    """A user's own loop."""

    def __init__(self, model, members=400):
        torch.manual_seed(0)
        self.model = model.train()
        self.x, self.y = torch.randn(members, 6), torch.randint(0, 3, (members,))
        self.step = 0

    def run(self, steps, watch=None, batch=32):
        optimizer = torch.optim.SGD(self.model.parameters(), 0.1)
        torch.manual_seed(1)
        for _ in range(steps):
            self.step += 1
            index = np.random.default_rng(self.step).permutation(len(self.x))[:batch]
            if watch is None:
                self._pass(index)
            else:
                with watch(self.step, index, float(batch)):
                    self._pass(index)
            optimizer.step()
            optimizer.zero_grad()

    def _pass(self, index):
        F.cross_entropy(self.model(self.x[index]), self.y[index]).backward()


def test_a_captured_training_ends_with_the_same_weights():
    model = net()
    bare, watched = Training(copy.deepcopy(model)), Training(model)
    watch = LiveWatch(model, budget=100.0)
    bare.run(40)
    watched.run(40, watch)
    assert watch.captures > 10
    assert len(watch.rows) == 3
    for one, other in zip(bare.model.parameters(), model.parameters(), strict=True):
        assert torch.equal(one, other)


def test_rolling_leakage_of_every_layer_and_of_all_jointly():
    model, found = net(), []
    watch = LiveWatch(model, budget=100.0, epoch_of=lambda step: step // 10, write=found.extend)
    Training(model).run(60, watch)
    assert [row.layer for row in found[:3]] == ["*", "0", "3"]
    for row in found:
        assert row.bits.conclusive
        assert 0 < row.bits.value <= row.bits.ceiling
        assert row.epoch == row.step // 10
        assert row.overhead > 0
    assert found[-1].step > found[0].step
    assert re.fullmatch(r"bits: \* \d\.\d, \d \d\.\d, \d \d\.\d \(of 6\.0\)", watch.headline())
    assert "of 60 passes" in watch.summary()


def test_memory_is_flat():
    model = net()
    watch, training = LiveWatch(model, budget=100.0), Training(model)
    training.run(30, watch)
    tensor = watch.window._values
    training.run(60, watch)
    assert watch.window._values is tensor
    assert tensor.shape == (2, live.WINDOW, 64)
    assert len(watch.window) == len(watch.window._slots) == live.WINDOW
    assert sorted(watch.window._slots) == sorted(watch.window._owners)
    assert len(watch.rows) == 3


def test_the_purse_stays_within_its_budget_and_uses_it():
    budget = OverheadBudget(0.1)
    looked = 0
    for _ in range(400):
        if budget.affords("capture"):
            budget.pay_for_pass("capture", 1.3, 32)
            looked += 1
        else:
            budget.earn(1.0, 32)
        if looked % 8 == 7 and budget.affords("play"):
            budget.pay("play", 0.5)
            looked += 1
    assert 0.09 < budget.overhead <= 0.101
    assert budget.bare == pytest.approx(400, rel=0.01)


def test_the_purse_is_in_debt_after_what_cost_more_than_expected():
    budget = OverheadBudget(0.1)
    for _ in range(5):
        budget.earn(1.0, 32)
    assert budget.affords("capture")  # its cost is not known yet
    budget.pay_for_pass("capture", 3.0, 32)
    assert not budget.affords("capture")
    waited = 0
    while not budget.affords("capture"):
        budget.earn(1.0, 32)
        waited += 1
    assert 30 <= waited <= 36  # two seconds of debt and two for the next, less what was saved before


def test_a_record_is_in_the_window_once_with_its_last_token():
    window = Window(4)
    window.add([7, 8, 7], LiveTokens(torch.tensor([[[1.0], [2.0], [3.0]]]), layers("a"), False))
    assert window.read()[0, :, 0].tolist() == [3.0, 2.0]
    window.add([1, 2, 8], LiveTokens(torch.tensor([[[4.0], [5.0], [6.0]]]), layers("a"), False))
    assert window.read()[0, :, 0].tolist() == [3.0, 6.0, 4.0, 5.0]
    window.add([3], LiveTokens(torch.tensor([[[9.0]]]), layers("a"), False))
    assert window.read()[0, :, 0].tolist() == [9.0, 6.0, 4.0, 5.0]
    assert len(window) == 4


def test_the_window_leaves_out_what_overflowed_and_forgets_a_dropped_layer():
    window = Window(4)
    values = torch.tensor([[[1.0], [2.0]], [[3.0], [torch.inf]]])
    window.add([1, 2], LiveTokens(values, layers("a", "b"), False))
    assert len(window) == 1
    window.add([5], LiveTokens(torch.tensor([[[8.0]]]), layers("b"), False))
    assert window.read()[0, :, 0].tolist() == [3.0, 8.0]


def test_train_mode_batchnorm_is_inconclusive_once_and_never_captured():
    model, found = net(norm=True), []
    watch = LiveWatch(model, budget=100.0, write=found.extend)
    Training(model).run(20, watch)
    assert watch.captures == 0
    assert [(row.layer, row.bits.status) for row in found] == [(name, MIXED) for name in ("*", "0", "2", "3")]
    assert watch.headline() == "leakage inconclusive"


def test_few_members_are_inconclusive():
    model, found = net(), []
    Training(model, members=100).run(60, LiveWatch(model, budget=100.0, write=found.extend))
    assert found
    assert all(row.bits.status.startswith("inconclusive: needs 160 records for batches of 8, has ") for row in found)


def test_a_run_with_live_has_the_tables_of_one_without(tmp_path):
    changes = {"audit__views": ONE_VIEW, "audit__games": ["label"], "data__limit": 500, "train__epochs": 30}
    changes["audit__epochs"] = [30]
    for name, extra in (("bare", {}), ("live", {"audit__live": LIVE})):
        (tmp_path / name).mkdir()
        result = call("run", write_spec(tmp_path / name, **changes, **extra), "--out", tmp_path / name / "run")
        assert result.exit_code == 0, result.output
    assert tables(tmp_path / "bare" / "run") == tables(tmp_path / "live" / "run")
    assert not (tmp_path / "bare" / "run" / live.LIVE).exists()
    found = rows_of(tmp_path / "live" / "run")
    assert {row["layer"] for row in found} == {"*", "1", "3"}
    assert all(0 <= float(row["bits"]) <= float(row["ceiling"]) for row in found if row["status"] == "ok")
    assert all(1 <= int(row["epoch"]) <= 30 and row["seed"] == "0" for row in found)
    assert "live: " in result.stderr


def row(step, layer="*"):
    return LiveRow(step, 1, layer, Estimate(1.0, 0.5, 1.5, 0.0, 6.0, 256), 0.09)


def test_a_log_that_goes_on_drops_what_is_repeated_and_half_a_line(tmp_path):
    path = tmp_path / "live.csv"
    log = LiveLog(path)
    for step in (3, 8, 12):
        log([row(step), row(step, 'odd, "name"')])
    whole = path.read_text(encoding="utf-8")
    path.write_text(whole + "14,2,*,1.0,0.", encoding="utf-8")
    LiveLog(path, done=10)([row(11)])
    lines = path.read_text(encoding="utf-8").splitlines()
    assert lines[0] == ",".join(COLUMNS)
    assert lines[1:5] == whole.splitlines()[1:5]
    assert [line.partition(",")[0] for line in lines[1:]] == ["3", "3", "8", "8", "11"]
    LiveLog(path)
    assert path.read_text(encoding="utf-8").splitlines() == [",".join(COLUMNS)]


def test_the_seeds_are_put_together(tmp_path):
    for seed in (0, 4):
        LiveLog(tmp_path / f"{seed}.csv")([LiveRow(5, 1, "a", inconclusive("no, not yet"), 0.0)])
    publish([(seed, tmp_path / f"{seed}.csv") for seed in (0, 4)], tmp_path)
    assert [(r["seed"], r["status"], r["bits"]) for r in rows_of(tmp_path)] == [
        (seed, "inconclusive: no, not yet", "") for seed in ("0", "4")
    ]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"audit__live": {"budget": 0}}, "audit.live.budget"),
        ({"audit__live": {"budget": 1.5}}, "audit.live.budget"),
        ({"audit__live": {"bugdet": 0.1}}, "did you mean `budget`"),
        ({"audit__live": LIVE, "train__defense": {"name": "dp_sgd", "clip": 1.0, "noise_multiplier": 1.0}}, "one of"),
    ],
)
def test_what_is_wrong_with_the_key_is_said(tmp_path, changes, message):
    result = call("check", write_spec(tmp_path, **changes))
    assert result.exit_code == 2
    assert message in " ".join(result.stderr.split())


def test_an_interrupted_run_goes_on_with_its_log(tmp_path, monkeypatch):
    changes = {"audit__views": ONE_VIEW, "audit__games": ["label"], "audit__epochs": [0, 20, 40], "train__epochs": 40}
    path, run = write_spec(tmp_path, data__limit=500, audit__live=LIVE, **changes), tmp_path / "run"
    interrupt_at(monkeypatch, 40)
    assert call("run", path, "--out", run).exit_code == 130
    monkeypatch.undo()
    log = run / RESUME / "seed-0" / live.LIVE
    before = log.read_text(encoding="utf-8").splitlines()[1:]
    assert before
    assert call("run", path, "--out", run, "--resume").exit_code == 0
    found = rows_of(run)
    assert [r["layer"] for r in found] == ["*", "1", "3"] * (len(found) // 3)
    steps = [int(r["step"]) for r in found]
    assert steps == sorted(steps)
    assert len(set(steps)) == len(found) // 3  # what was repeated is there once
