"""Several views of each record in an audit with reference models."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from audit_case import ONE_VIEW, write_spec

import ptaudit
from ptaudit.attacks.membership.queries import most_telling
from ptaudit.attacks.membership.registry import ATTACKS
from ptaudit.attacks.membership.signals import from_logits, mean_of, references
from ptaudit.auditing.opening import open_session
from ptaudit.auditing.reference import context_of, queries_of, reference_bytes
from ptaudit.context.reference import ReferenceModels
from ptaudit.errors import SpecError
from ptaudit.spec.load import load
from ptaudit.stats.roc import auc
from ptaudit.training.fleet.fleet import ReferenceSignals

ATTACKING = ["loss", "lira-online-global", "rmia-online"]
ASKED = {
    "audit__games": [{"name": "membership", "attacks": ATTACKING, "queries": 3}],
    "audit__views": ONE_VIEW,
    "audit__epochs": [0, 2],
    "fleet": {"models": 4},
}


@pytest.mark.parametrize("best", [1, 3])
def test_attacks_with_reference_models_take_the_queries_that_tell_most_and_others_the_record(
    tmp_path, monkeypatch, best
):
    monkeypatch.setattr("ptaudit.games.membership.outputs.most_telling", lambda each, inside: best)
    asked = ptaudit.audit(write_spec(tmp_path, **ASKED), out=tmp_path / "asked")
    once = {**ASKED, "audit__games": [{"name": "membership", "attacks": ATTACKING}]}
    plain = ptaudit.audit(write_spec(tmp_path, **once), out=tmp_path / "plain")
    rows = [
        run.leakage[(run.leakage.metric == "auc") & (run.leakage.epoch == 2)].set_index("adversary")
        for run in (asked, plain)
    ]
    assert all((one.status == "ok").all() for one in rows)
    same = rows[0].value == rows[1].value
    assert same.to_dict() == {"loss": True, "lira-online-global": best == 1, "rmia-online": best == 1}


def test_what_reference_models_said_is_found_query_by_query():
    """Model m says 100 q + i of record i in query q."""
    n, queries = 5, 3
    losses = np.concatenate([100.0 * q + np.arange(n) for q in range(queries)]).astype(np.float32)
    said = ReferenceSignals((0,), losses[None, None, :, None], losses[None, None], np.ones((1, n), bool), ())
    models = ReferenceModels(said, np.array([3, 7, 8, 10, 12]))
    for query in range(queries):
        found, included = models.at(0, np.array([10, 7]), query)
        assert found.losses.tolist() == [[100.0 * query + 3, 100.0 * query + 1]]
        assert found.outputs[0, :, 0].tolist() == found.losses[0].tolist()
        assert included.shape == (1, 2)


def test_the_mean_over_queries_is_less_noisy_than_one():
    each, included = simulated(told=[True] * 8)
    models = len(included) - 1
    assert most_telling([one.model(slice(1, None)) for one in each], included[1:]) >= 6
    areas = []
    for signals in (each[0], mean_of(each)):
        known = references(signals.model(np.arange(1, models + 1)), included[1:])
        member = included[0] & (included[1:].sum(0) >= 2) & (included[1:].sum(0) <= models - 2)
        other = ~included[0] & (included[1:].sum(0) >= 2) & (included[1:].sum(0) <= models - 2)
        scores = ATTACKS["lira-online-global"](signals.model(0), known)
        areas.append(auc(scores[member], scores[other]))
    assert areas[1] > areas[0] + 0.1
    np.testing.assert_allclose(mean_of(each).confidence, np.mean([one.confidence for one in each], axis=0))
    assert mean_of(each[:1]).losses.tolist() == each[0].losses.tolist()


def test_queries_that_tell_nothing_are_left_out():
    each, included = simulated(told=[True, True, False, False, False, False])
    assert most_telling(each, included) == 2
    assert most_telling(each[:1], included) == 1
    assert most_telling(each, np.ones_like(included)) == 1


def simulated(told):
    """Confidences of 1000 records in nine models, 1.5 higher inside; every query adds noise of its own, and some show
    nothing else."""
    generator = np.random.default_rng(0)
    n, models = 1000, 8
    included = generator.permuted(np.broadcast_to(np.arange(models + 1)[:, None] % 2 == 0, (models + 1, n)), axis=0)
    base = generator.standard_normal(n) + 1.5 * included + 0.5 * generator.standard_normal(included.shape)

    def said(tells):
        logit = tells * base + 2.0 * generator.standard_normal(base.shape)
        return from_logits(np.stack([logit, np.zeros_like(logit)], -1), np.zeros(n, dtype=np.int64))

    return [said(one) for one in told], included


def test_they_are_counted_in_what_is_kept_and_refused_where_nobody_asks(tmp_path):
    session = open_session(load(write_spec(tmp_path, **ASKED)), torch.device("cpu"))
    once = {**ASKED, "audit__games": [{"name": "membership", "attacks": ATTACKING}]}
    other = open_session(load(write_spec(tmp_path, **once)), torch.device("cpu"))
    assert (queries_of(session.spec), queries_of(other.spec)) == (3, 1)
    assert context_of(session).queries.count == 3
    assert reference_bytes(session, session.model(0)) == 3 * reference_bytes(other, other.model(0))
    alone = {**ASKED, "audit__games": [{"name": "membership", "attacks": ["loss"], "queries": 3}], "fleet": None}
    with pytest.raises(SpecError, match="`queries: 3` is used by no attack of the game"):
        load(write_spec(tmp_path, **alone))
