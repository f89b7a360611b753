"""The membership attack that has the weights of the epoch before, in an audit."""

from __future__ import annotations

import pytest
from audit_case import ONE_VIEW, write_spec

import ptaudit
from ptaudit.auditing import cost_estimate
from ptaudit.auditing.cost_probe import CostProbe
from ptaudit.auditing.opening import open_session
from ptaudit.errors import SpecError
from ptaudit.spec.load import load
from ptaudit.training.device import pick_device

ASKED = {
    "audit__games": [{"name": "membership", "attacks": ["loss", "update-product"]}],
    "audit__views": ONE_VIEW,
    "audit__epochs": [0, 1, 2],
}


def test_those_that_are_asked_are_played_and_no_others(tmp_path):
    run = ptaudit.audit(write_spec(tmp_path, **ASKED), out=tmp_path / "run")
    found = run.leakage[run.leakage.metric == "auc"]
    rows = set(zip(found.adversary, found.epoch, found.layer))
    assert rows == {("loss", epoch, "*") for epoch in (0, 1, 2)} | {
        ("update-product", epoch, layer) for epoch in (1, 2) for layer in ("*", "1", "3")
    }
    assert (found.status == "ok").all()
    assert set(found.knowledge) == {"adaptive"}
    assert "holds the model, its weights of the epoch before, and" in " ".join(run.run.manifest["threat_model"])


def test_what_check_foretells_is_timed_with_weights_of_the_epoch_before(tmp_path, monkeypatch):
    session = open_session(load(write_spec(tmp_path, **ASKED)), pick_device("cpu"))
    model = session.model(0)
    probe, played = CostProbe.of(session, model, session.reader(model)), []
    honest = cost_estimate.run_game
    monkeypatch.setattr(cost_estimate, "run_game", lambda *asked: played.extend(honest(*asked)))
    assert cost_estimate.games_seconds(probe) > 0.0
    assert {one.adversary.adversary for one in played} == {"loss", "update-product"}
    assert all(one.found["auc"][0].conclusive for one in played)


def test_reference_models_that_no_attack_asks_for_are_refused(tmp_path):
    with pytest.raises(SpecError, match="no use without a game"):
        load(write_spec(tmp_path, **ASKED, fleet={"models": 4}))
