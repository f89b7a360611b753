"""Quantile regression in an audit: held-out records of one half teach, those of the other are reported."""

from __future__ import annotations

import numpy as np
from audit_case import ONE_VIEW, write_spec

import ptaudit
from ptaudit.attacks.membership.registry import ATTACKS
from ptaudit.attacks.membership.signals import Signals
from ptaudit.games.membership.measure import MIN_RECORDS, halves_of
from ptaudit.games.membership.outputs import _cross_fitted

ASKED = {
    "audit__games": [{"name": "membership", "attacks": ["loss", "quantile-regression"]}],
    "audit__views": ONE_VIEW,
    "audit__epochs": [0, 2],
}


def test_it_is_played_where_it_is_asked_for_and_finds_nothing_before_training(tmp_path):
    run = ptaudit.audit(write_spec(tmp_path, **ASKED), out=tmp_path / "run")
    found = run.leakage[(run.leakage.adversary == "quantile-regression") & (run.leakage.metric == "auc")]
    assert found.epoch.tolist() == [0, 2]
    assert found.status.tolist() == ["ok", "ok"]
    assert found.layer.tolist() == ["*", "*"]
    assert found.lo.iloc[0] <= 0.5 <= found.hi.iloc[0]


def test_no_record_is_scored_by_who_learned_on_it_and_members_teach_nobody():
    """A held-out record moves the scores of the other half alone; a member moves its own alone."""
    generator, attack = np.random.default_rng(0), ATTACKS["quantile-regression"]
    members, n = 60, 121
    signals = Signals(generator.standard_normal(n), features=generator.standard_normal((n, 2)))
    before = _cross_fitted(attack, signals, members, 0)
    inside, outside = halves_of((members, n - members), 0)
    assert np.isnan(before).sum() == 1
    for changed, may_move in ((members + outside[0][0], [*inside[1], *(members + outside[1])]), (inside[0][0], [])):
        confidence = signals.confidence.copy()
        confidence[changed] += 50.0
        after = _cross_fitted(attack, Signals(confidence, features=signals.features), members, 0)
        moved = set(np.flatnonzero((after != before) & ~np.isnan(before)).tolist())
        assert changed in moved
        assert moved - {changed} <= set(may_move)
        assert (len(moved) > 1) == (len(may_move) > 0)


def test_too_few_records_have_no_score():
    signals = Signals(np.zeros(50), features=np.zeros((50, 2)))
    assert np.isnan(_cross_fitted(ATTACKS["quantile-regression"], signals, MIN_RECORDS - 1, 0)).all()
