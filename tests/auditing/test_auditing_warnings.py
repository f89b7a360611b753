"""One list of warnings, which `check` and `run` both walk."""

from __future__ import annotations

import torch
from audit_case import ONE_VIEW, write_spec

from ptaudit.auditing import warnings
from ptaudit.auditing.opening import open_session
from ptaudit.auditing.warnings.subject import Subject
from ptaudit.spec import load


def subject(folder, **changes):
    spec = load(write_spec(folder, **{"audit__views": ONE_VIEW, "train__epochs": 1, "audit__epochs": [1], **changes}))
    session = open_session(spec, torch.device("cpu"))
    return Subject(session, session.model(0), alarm="Alarm.")


def test_what_goes_with_the_tables_is_said_before_the_run_too(tmp_path, monkeypatch):
    about = subject(tmp_path, audit__records=20, data__augment={"flip": True})
    of_tables, of_check = warnings.of_tables(about), warnings.of_check(about)
    assert of_tables == ("Records were read without the augmentation that they were trained with.",)
    assert of_check[: 1 + len(of_tables)] == ("Alarm.", *of_tables)
    assert any("will be inconclusive" in text for text in of_check[2:])
    monkeypatch.setattr(warnings, "OF_TABLES", (*warnings.OF_TABLES, lambda about: iter(["New."])))
    assert warnings.of_tables(about) == (*of_tables, "New.")
    assert warnings.of_check(about)[2] == "New."
