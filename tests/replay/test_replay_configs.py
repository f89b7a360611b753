"""The ready specs train through the replay and reach what their comments promise."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from ptaudit.replay import EpochStats, Replay, build_model, check_loss, make_loss, make_split, open_source
from ptaudit.spec import load
from ptaudit.spec.model import Spec

CONFIGS = Path(__file__).parents[2] / "configs"


def prepared(spec: Spec) -> Replay:
    source = open_source(spec.data)
    split = make_split(len(source), spec.data)
    records = source.records(split.members)
    model, loss = build_model(spec.model, spec.train.seed), make_loss(spec.train.loss)
    check_loss(model, records, loss)
    return Replay(model, records, split, spec.train, loss, spec.train.seed, torch.device("cpu"))


def trained(spec: Spec) -> EpochStats:
    return prepared(spec).run((), ())[-1]


def test_quickstart_learns():
    stats = trained(load(CONFIGS / "quickstart.yaml"))
    assert stats.held_out_accuracy > 0.92
    assert stats.train_accuracy > stats.held_out_accuracy


@pytest.mark.parametrize("name", ["fashion-mnist", "cifar10-4k", "adult"])
def test_model_data_and_loss_fit(name, real_data, monkeypatch):
    monkeypatch.setenv("PTAUDIT_DATA", str(real_data))
    replay = prepared(load(CONFIGS / f"{name}.yaml"))
    loss, accuracy = replay.evaluate(replay.split.held_out[:200])
    assert loss < 10
    assert accuracy < 0.8  # untrained


@pytest.mark.slow
@pytest.mark.parametrize(("name", "least"), [("fashion-mnist", 0.82), ("cifar10-4k", 0.46), ("adult", 0.85)])
def test_trained_accuracy(name, least, real_data, monkeypatch):
    monkeypatch.setenv("PTAUDIT_DATA", str(real_data))
    assert trained(load(CONFIGS / f"{name}.yaml")).held_out_accuracy > least
