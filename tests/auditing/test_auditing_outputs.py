"""Membership attacks on what the model says of records, without reference models, in an audit."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from audit_case import ONE_VIEW, interrupt_at, write_spec
from scipy.special import log_softmax
from scipy.stats import rankdata

import ptaudit
from ptaudit.auditing.opening import open_session
from ptaudit.context.session import Session
from ptaudit.errors import SpecError
from ptaudit.spec.load import load
from ptaudit.stats.roc import auc
from ptaudit.training.device import pick_device
from ptaudit.training.trainer import Replay

ASKED = {
    "audit__games": [{"name": "membership", "attacks": ["loss", "modified-entropy", "loss-trace"]}],
    "audit__views": ONE_VIEW,
    "audit__epochs": [0, 1, 2, 3, 4],
    "train__epochs": 4,
    "train__optimizer__lr": 0.5,
}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("outputs")
    return ptaudit.audit(write_spec(folder, **ASKED), out=folder / "run")


def losses_by_hand(session: Session) -> np.ndarray:
    """Of audited members and held-out records after each epoch, `(E, n)`, from a training of its own."""
    model, spec = session.model(0), session.spec
    replay = Replay(model, session.records, session.split, spec.train, session.loss, 0, session.device)
    index, found = np.concatenate([session.members, session.others]), []

    def observe(snapshot):
        inputs, targets = session.batch(index)
        scores = snapshot.model.eval()(inputs).detach().double().numpy()
        snapshot.model.train()
        found.append(-log_softmax(scores, 1)[np.arange(len(index)), targets.numpy()])

    replay.run(spec.audited_epochs, [observe])
    return np.stack(found)


def test_loss_traces_are_those_of_the_audited_epochs_so_far(run, tmp_path):
    session = open_session(load(write_spec(tmp_path, **ASKED)), pick_device("cpu"))
    traces, n = losses_by_hand(session), len(session.members)
    found = run.leakage[(run.leakage.adversary == "loss-trace") & (run.leakage.metric == "auc")].set_index("epoch")
    assert found.status[1] == "inconclusive: needs losses of 4 epochs, there are 2"
    for epoch in (3, 4):
        low, high = np.quantile(traces[: epoch + 1], [0.25, 0.75], axis=0)
        ranks = rankdata(high - low)
        exact = (ranks[:n].sum() - n * (n + 1) / 2) / (n * (len(ranks) - n))
        # Scores of the two halves are put on one scale before they are compared.
        assert found.value[epoch] == pytest.approx(exact, abs=0.03)


def test_modified_entropy_and_the_tail_of_the_loss_have_rows(run):
    joint = run.leakage[(run.leakage.epoch == 4) & (run.leakage.layer == "*")].set_index(["adversary", "metric"])
    assert joint.status["modified-entropy", "auc"] == "ok"
    assert ("loss", "tnr_at_fnr_0.01") in joint.index
    assert ("modified-entropy", "tnr_at_fnr_0.01") not in joint.index
    assert joint.loc[("loss", "tpr_at_fpr_0"), "null"] < 0.05


def test_scores_of_both_sides_are_kept_where_that_is_asked_and_rates_are_of_them(run, tmp_path):
    ptaudit.audit(write_spec(tmp_path, **ASKED), out=tmp_path / "run", keep_records=True)
    kept = pd.read_csv(tmp_path / "run" / "samples.csv")
    assert set(kept.epoch) == {4}
    rows = run.leakage[(run.leakage.epoch == 4) & (run.leakage.metric == "auc")].set_index("adversary")
    for attack in ("loss", "modified-entropy", "loss-trace"):
        members, others = (kept[kept.metric == f"{attack}, {side}"] for side in ("member", "held out"))
        assert auc(members.value.to_numpy(), others.value.to_numpy()) == pytest.approx(rows.value[attack], abs=1e-5)
        assert not set(members.record) & set(others.record)


def test_a_resumed_run_has_the_losses_of_the_epochs_before(run, tmp_path, monkeypatch):
    spec = write_spec(tmp_path, **ASKED)
    with monkeypatch.context() as patch:
        interrupt_at(patch, 3)
        with pytest.raises(KeyboardInterrupt):
            ptaudit.audit(spec, out=tmp_path / "run")
    again = ptaudit.audit(spec, out=tmp_path / "run", resume=True)
    pd.testing.assert_frame_equal(again.leakage, run.leakage)


def test_a_gate_on_a_metric_that_no_attack_of_the_game_reports_is_refused(tmp_path):
    gate = {"id": "g", "metric": "membership.tnr_at_fnr_0.01", "view": "model", "max": 0.9, "epoch": "last"}
    only = {"audit__games": [{"name": "membership", "attacks": ["gradient-norm"]}], "gates": [gate]}
    with pytest.raises(SpecError, match=r"no attack of its game reports .* \(it needs one of: loss\)"):
        load(write_spec(tmp_path, **{**ASKED, **only}))
