"""Seeds and defended trainings side by side: what is sent, done and taken up, with a Ray that works in this process."""

from __future__ import annotations

from contextlib import nullcontext

import pytest
from audit_case import ONE_VIEW, call, tables, write_spec
from ray_case import FakeRay, Gone

import ptaudit
from ptaudit.auditing import over_ray, run
from ptaudit.errors import ClusterError, TrainingDivergedError
from ptaudit.progress import Silent
from ptaudit.spec.load import load
from ptaudit.training import cluster
from ptaudit.training.trainer import Replay

SEEDS = {"audit__games": ["membership"], "audit__views": ONE_VIEW, "train__seeds": [0, 1], "audit__epochs": [0, 1, 2]}
DEFENDED = {**SEEDS, "fleet": {"models": 4}, "defenses": [{"name": "sign"}]}
FLEET_ON_RAY = ("fleet.engine=ray",)
CANARIES = {"kinds": ["mislabelled"], "count": 20, "train": True}


@pytest.fixture
def fake(monkeypatch):
    """Installs a Ray with some faults, where this process is not allowed to train a seed itself."""

    def install(*faults, strict=True):
        ray = FakeRay(faults)
        monkeypatch.setattr(cluster, "_connected", lambda address: nullcontext(ray))
        monkeypatch.setattr(over_ray, "need_ray", lambda: None)
        monkeypatch.setattr(over_ray, "check_cluster", lambda address: None)
        trained = over_ray.train_over_ray

        def and_no_more(*asked):
            trained(*asked)
            if strict:
                monkeypatch.setattr(Replay, "train_epoch", lambda *_: pytest.fail("trained here"))

        monkeypatch.setattr(run, "train_over_ray", and_no_more)
        return ray

    return install


def parts(ray):
    """Of the trainings that were begun, their folder and seed."""
    return [(asked.part, asked.seed) for asked in ray.asked if isinstance(asked, over_ray.Training)]


def test_the_tables_are_those_of_this_process(tmp_path, fake):
    spec = write_spec(tmp_path, **DEFENDED)
    ptaudit.audit(spec, out=tmp_path / "here")
    ray = fake(Gone("killed"))
    ptaudit.audit(spec, out=tmp_path / "far", overrides=FLEET_ON_RAY)
    assert tables(tmp_path / "far") == tables(tmp_path / "here")
    every = [("", 0), ("", 1), ("defenses/sign", 0), ("defenses/sign", 1)]
    assert parts(ray) == every


def test_scores_of_records_come_back_too(tmp_path, fake):
    spec = write_spec(tmp_path, **{**SEEDS, "audit__games": ["uniqueness"]})
    ptaudit.audit(spec, out=tmp_path / "here", keep_records=True)
    fake()
    ptaudit.audit(spec, out=tmp_path / "far", keep_records=True, address="auto")
    for name in ("leakage.csv", "samples.csv"):
        assert (tmp_path / "far" / name).read_bytes() == (tmp_path / "here" / name).read_bytes()


def test_canaries_in_the_training_and_defenses_go_together(tmp_path, fake):
    """A defended session has the canaries of the run among its records, and no spec of its own that says so."""
    spec = write_spec(tmp_path, **DEFENDED, canaries=CANARIES)
    ptaudit.audit(spec, out=tmp_path / "here")
    fake()
    ptaudit.audit(spec, out=tmp_path / "far", overrides=FLEET_ON_RAY)
    assert tables(tmp_path / "far") == tables(tmp_path / "here")


def test_a_worker_that_dies_is_replaced_and_what_is_whole_is_not_done_again(tmp_path, fake):
    spec = write_spec(tmp_path, **SEEDS)
    ptaudit.audit(spec, out=tmp_path / "here")

    class FailsLater(FakeRay):
        def get(self, task):
            if len(self.asked) > 2:
                raise Gone("killed")
            found = task()
            self.asked.append(None)
            return found

    ray = fake()
    ray.__class__ = FailsLater
    with pytest.raises(ClusterError, match=r"trained seed 0 is gone .* 2 tries before .*go on with --resume"):
        ptaudit.audit(spec, out=tmp_path / "far", address="auto")
    again = fake(Gone("killed"))
    ptaudit.audit(spec, out=tmp_path / "far", address="auto", resume=True)
    assert parts(again) == [("", 0), ("", 0)]
    assert tables(tmp_path / "far") == tables(tmp_path / "here")


def test_a_seed_that_was_begun_is_gone_on_with(tmp_path, fake, monkeypatch):
    class Stopped(Silent):
        def log(self, message):
            if "epoch 1:" in message:
                raise KeyboardInterrupt

    spec = write_spec(tmp_path, **SEEDS)
    ptaudit.audit(spec, out=tmp_path / "here")
    with pytest.raises(KeyboardInterrupt):
        ptaudit.audit(spec, out=tmp_path / "far", progress=Stopped())
    trained, plain = [], Replay.train_epoch

    def train_epoch(self, epoch, *more):
        trained.append((self.seed, epoch))
        return plain(self, epoch, *more)

    monkeypatch.setattr(Replay, "train_epoch", train_epoch)
    ray = fake()
    ptaudit.audit(spec, out=tmp_path / "far", address="auto", resume=True)
    begun = next(asked for asked in ray.asked if asked.seed == 0).files
    assert {"checkpoint.pt", "epoch-000000.npz"} <= begun.keys()
    assert trained == [(1, 1), (1, 2), (0, 1), (0, 2)]  # it was stopped before epoch 1 was whole
    assert tables(tmp_path / "far") == tables(tmp_path / "here")


def test_a_seed_that_diverges_ends_the_run_as_it_does_here(tmp_path, fake):
    spec = write_spec(tmp_path, **{**SEEDS, "train__optimizer": {"name": "sgd", "lr": 1e18}})
    with pytest.raises(TrainingDivergedError) as here:
        ptaudit.audit(spec, out=tmp_path / "here")
    fake(strict=False)
    with pytest.raises(TrainingDivergedError) as far:
        ptaudit.audit(spec, out=tmp_path / "far", address="auto")
    assert str(far.value).replace("far", "here") == str(here.value)
    assert tables(tmp_path / "far") == tables(tmp_path / "here")


def test_what_workers_say_is_told(tmp_path, fake):
    class Heard(Silent):
        def __init__(self):
            self.lines = []

        def log(self, message):
            self.lines.append(message)

    fake()
    heard, spec = Heard(), write_spec(tmp_path, **SEEDS)
    ptaudit.audit(spec, out=tmp_path / "far", address="auto", progress=heard)
    assert sum(line.startswith("seed 1, epoch 2: loss") for line in heard.lines) == 1


@pytest.mark.parametrize(
    ("changes", "address", "over"),
    [
        ({}, "auto", False),
        ({"train__seeds": [0, 1]}, None, False),
        ({"train__seeds": [0, 1]}, "auto", True),
        ({"defenses": [{"name": "sign"}]}, "auto", True),
        ({"fleet": {"models": 2, "engine": "ray"}}, None, False),
        ({"fleet": {"models": 2, "engine": "ray"}, "train__seeds": [0, 1]}, None, True),
        ({"fleet": {"models": 2}, "train__seeds": [0, 1]}, None, False),
    ],
)
def test_several_trainings_go_over_ray_where_it_is_asked_for(tmp_path, changes, address, over):
    assert over_ray.goes_over_ray(load(write_spec(tmp_path, **changes)), address) is over


def test_an_address_that_nothing_uses_is_refused(tmp_path):
    result = call("run", write_spec(tmp_path), "--out", tmp_path / "run", "--address", "auto")
    assert result.exit_code == 2
    assert "--address: nothing in this spec is done on a Ray cluster (several `train.seeds` or" in result.stderr
    assert not (tmp_path / "run").exists()
