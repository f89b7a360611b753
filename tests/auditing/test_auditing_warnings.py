"""One list of warnings, which `check` and `run` both walk."""

from __future__ import annotations

import pytest
import torch
from audit_case import ONE_VIEW, write_spec

from ptaudit.auditing import warnings
from ptaudit.auditing.opening import open_session
from ptaudit.auditing.warnings.games import idle_gates
from ptaudit.auditing.warnings.subject import Subject
from ptaudit.spec.load import load


def subject(folder, **changes):
    spec = load(write_spec(folder, **{"audit__views": ONE_VIEW, "train__epochs": 1, "audit__epochs": [1], **changes}))
    session = open_session(spec, torch.device("cpu"))
    return Subject(session, session.model(0), alarm="Alarm.")


def test_what_goes_with_the_tables_is_said_before_the_run_too(tmp_path, monkeypatch):
    about = subject(tmp_path, audit__records=50, data__augment={"flip": True})
    of_tables, of_check = warnings.of_tables(about), warnings.of_check(about)
    assert of_tables == ("Records were read without the augmentation that they were trained with.",)
    assert of_check[: 1 + len(of_tables)] == ("Alarm.", *of_tables)
    assert of_check[2:] == ("View batch-2 has 50 audited records; 64 are advised.",)
    monkeypatch.setattr(warnings, "OF_TABLES", (*warnings.OF_TABLES, lambda about: iter(["New."])))
    assert warnings.of_tables(about) == (*of_tables, "New.")
    assert warnings.of_check(about)[2] == "New."


@pytest.mark.parametrize(
    ("metric", "most", "warned"),
    [
        ("sensitivity", 5, []),
        ("input_sensitivity", 1, []),
        ("js_distance", 1, ["gate it can never fail: max 1 is not below the ceiling 1"]),
        ("subspace_distance", 2, ["gate it can never fail: max 2 is not below the ceiling 1"]),
    ],
)
def test_a_threshold_is_held_against_what_its_metric_can_be(tmp_path, metric, most, warned):
    gate = {"id": "it", "metric": f"localisation.{metric}", "view": "model", "max": most}
    game = {"name": "localisation", "secret": "label"}
    about = subject(tmp_path, audit__games=[game], gates=[gate])
    assert list(idle_gates(about)) == warned
