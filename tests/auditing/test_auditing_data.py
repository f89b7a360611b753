"""What the data part of a spec does to the whole audit: users on one side, augmentation in training only."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from ptaudit.auditing.opening import open_session
from ptaudit.auditing.seed import trajectory
from ptaudit.auditing.warnings import of_tables
from ptaudit.auditing.warnings.subject import Subject
from ptaudit.context.session import Session
from ptaudit.spec.load import load

SPEC = """
version: 1
name: users
model: {entry: made.py:net}
data: {source: made.py:records, user: who, %s}
train: {epochs: 1, batch_size: 8}
audit: {views: [{name: record, batch_size: 1}]}
"""
MADE = """
import numpy as np
from torch import nn

def net(): return nn.Linear(5, 2)
def records():
    x = np.random.default_rng(0).normal(size=(80, 5))
    return x, (x[:, 0] > 0).astype(int), {"who": np.arange(80) // 4}
def double(inputs, generator): return 2 * inputs
"""


@pytest.fixture
def session(tmp_path: Path):
    def make(data: str = "") -> Session:
        (tmp_path / "made.py").write_text(MADE)
        (tmp_path / "spec.yaml").write_text(SPEC % data)
        return open_session(load(tmp_path / "spec.yaml"), torch.device("cpu"))

    return make


def test_users_are_on_one_side(session):
    opened = session("split_by: who")
    who = opened.records.columns["who"]
    assert not set(who[opened.split.members]) & set(who[opened.split.held_out])
    assert len(opened.split.held_out) == 40
    assert not of_tables(Subject(opened, opened.model(0)))


def test_users_on_both_sides_are_counted(session):
    opened = session()
    who = opened.records.columns["who"]
    both = len(set(who[opened.split.members]) & set(who[opened.split.held_out]))
    assert both > 10
    assert any(
        line.startswith(f"{both} users have records among the members and among those held out")
        for line in of_tables(Subject(opened, opened.model(0)))
    )


def test_augmentation_reaches_training_alone_and_is_reported(session):
    plain, changed = session(), session("augment: made.py:double")
    assert np.array_equal(plain.members, changed.members)
    assert torch.equal(plain.batch(plain.members)[0], changed.batch(changed.members)[0])
    found = [trajectory(each, each.model(0), 0) for each in (plain, changed)]
    doubled = [replay._batch(plain.members[:3], torch.Generator()).inputs for replay in found]
    assert torch.equal(2 * doubled[0], doubled[1])
    said = [
        any("without the augmentation" in line for line in of_tables(Subject(each, each.model(0))))
        for each in (plain, changed)
    ]
    assert said == [False, True]
