"""The ready specs train through the replay and reach what their comments promise."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from ptaudit.data import open_source
from ptaudit.data.split import make_split
from ptaudit.spec.load import load
from ptaudit.spec.model import Spec
from ptaudit.training.epoch_snapshot import EpochStats
from ptaudit.training.loss import make_loss
from ptaudit.training.loss_check import check_loss
from ptaudit.training.model import build_model
from ptaudit.training.trainer import Replay

CONFIGS = Path(__file__).parents[2] / "configs"


def prepared(spec: Spec) -> Replay:
    source = open_source(spec.data)
    split = make_split(len(source), spec.data, source.columns)
    records = source.records(split.members)
    model, loss = build_model(spec.model, spec.train.seed), make_loss(spec.train.loss)
    check_loss(model, records, loss)
    return Replay(model, records, split, spec.train, loss, spec.train.seed, torch.device("cpu"))


def trained(spec: Spec) -> EpochStats:
    return prepared(spec).run((), ())[-1]


def test_patients_are_on_one_side(real_data, monkeypatch):
    monkeypatch.setenv("PTAUDIT_DATA", str(real_data))
    replay = prepared(load(CONFIGS / "diabetes130.yaml"))
    patient = replay.records.columns["patient"]
    assert not {*patient[replay.split.members]} & {*patient[replay.split.held_out]}
    assert set(replay.records.columns["gender"]) == {"Female", "Male", "Unknown/Invalid"}
    assert len(replay.split.held_out) / len(replay.records) == pytest.approx(0.3, abs=0.001)


def test_location30_is_learnt_by_heart(real_data, monkeypatch):
    monkeypatch.setenv("PTAUDIT_DATA", str(real_data))
    stats = trained(load(CONFIGS / "location30.yaml"))
    assert stats.train_accuracy == 1
    assert 0.6 < stats.held_out_accuracy < 0.67


def test_quickstart_learns():
    stats = trained(load(CONFIGS / "quickstart.yaml"))
    assert stats.held_out_accuracy > 0.92
    assert stats.train_accuracy > stats.held_out_accuracy


@pytest.mark.parametrize("name", ["fashion-mnist", "cifar10-4k", "adult", "diabetes130", "location30"])
def test_model_data_and_loss_fit(name, real_data, monkeypatch):
    monkeypatch.setenv("PTAUDIT_DATA", str(real_data))
    replay = prepared(load(CONFIGS / f"{name}.yaml"))
    loss, accuracy = replay.evaluate(replay.split.held_out[:200])
    assert loss < 10
    assert accuracy < 0.8  # untrained


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "least"),
    [("fashion-mnist", 0.82), ("cifar10-4k", 0.46), ("adult", 0.85), ("diabetes130", 0.58), ("location30", 0.61)],
)
def test_trained_accuracy(name, least, real_data, monkeypatch):
    monkeypatch.setenv("PTAUDIT_DATA", str(real_data))
    assert trained(load(CONFIGS / f"{name}.yaml")).held_out_accuracy > least
