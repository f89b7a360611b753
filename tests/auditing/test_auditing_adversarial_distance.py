"""The adversarial distance in an audit, and what it says where there is none."""

from __future__ import annotations

import torch
from audit_case import ONE_VIEW, write_spec

import ptaudit
from ptaudit.auditing import cost_estimate
from ptaudit.auditing.cost_probe import CostProbe
from ptaudit.auditing.opening import open_session
from ptaudit.context.epoch_context import EpochContext
from ptaudit.games.membership.distance import by_distance
from ptaudit.spec.load import load
from ptaudit.training.device import pick_device

NOISE = """\
import torch

def labels():
    generator = torch.Generator().manual_seed(0)
    return torch.randn(320, 64, generator=generator), torch.randint(10, (320,), generator=generator)
"""

ASKED = {
    "data": {"source": "noise.py:labels", "held_out": 0.5},
    "audit__games": [{"name": "membership", "attacks": ["loss", "adversarial-distance"]}],
    "audit__views": ONE_VIEW,
    "audit__epochs": [40],
    "train__epochs": 40,
    "train__optimizer__lr": 0.5,
}


def test_it_is_played_where_it_is_asked_for_and_priced(tmp_path, monkeypatch):
    """The network learns the random labels of 160 records by heart."""
    (tmp_path / "noise.py").write_text(NOISE)
    run = ptaudit.audit(write_spec(tmp_path, **ASKED), out=tmp_path / "run")
    found = run.leakage[(run.leakage.adversary == "adversarial-distance") & (run.leakage.epoch == 40)]
    area = found[found.metric == "auc"]
    assert area.layer.tolist() == ["*"]
    assert area.status.tolist() == ["ok"]
    assert area.lo.iloc[0] > 0.8
    session = open_session(load(write_spec(tmp_path, **ASKED)), pick_device("cpu"))
    model = session.model(0)
    probe, played = CostProbe.of(session, model, session.reader(model)), []
    honest = cost_estimate.run_game
    monkeypatch.setattr(cost_estimate, "run_game", lambda *asked: played.extend(honest(*asked)))
    cost_estimate.games_seconds(probe)
    assert {one.adversary.adversary for one in played} == {"loss", "adversarial-distance"}


def test_distances_that_are_no_numbers_are_said(tmp_path):
    (tmp_path / "noise.py").write_text(NOISE)
    session = open_session(load(write_spec(tmp_path, **ASKED)), pick_device("cpu"))
    model = session.model(0)
    reader = session.reader(model)
    inside, outside = (reader.read(*session.batch(index)) for index in (session.members, session.others))
    context = EpochContext(session, 1, 1, model, reader.layers, inside, outside, reader)
    found, lost = by_distance(context, 2)
    assert (set(found), lost) == ({("adversarial-distance", 2)}, {})
    with torch.no_grad():
        model[1].weight[0, 0] = float("nan")
    found, lost = by_distance(context, 2)
    assert found == {}
    assert "distances from the decision boundary that are finite numbers" in lost["adversarial-distance", 2]


def test_numbers_to_be_foretold_have_no_class_and_no_boundary(tmp_path):
    numbers = {
        "model": {"entry": "models.py:regression"},
        "data": {"source": "data.py:numbers", "held_out": 0.5},
        "train__loss": "mse",
        "train__epochs": 1,
        "audit__epochs": [1],
        "train__optimizer__lr": 0.01,
    }
    run = ptaudit.audit(write_spec(tmp_path, **{**ASKED, **numbers}), out=tmp_path / "run")
    found = run.leakage[(run.leakage.adversary == "adversarial-distance") & (run.leakage.metric == "auc")]
    assert set(found.status) == {"inconclusive: needs one class for each record"}
