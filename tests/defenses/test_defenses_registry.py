"""A defense from outside: one class and one call of `register`, and it is read, listed, shown and trained with."""

from __future__ import annotations

import csv
import json
import sys

import pytest
import yaml
from audit_case import ONE_VIEW, call, write_spec

from ptaudit.spec.model import json_schema
from ptaudit.spec.registry import DEFENSES, TRAIN_DEFENSES

MODULE = '''
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from ptaudit.spec.base import Number
from ptaudit.spec.defenses import DefenseSpec, OneShare, Share, register


class CutDefense(DefenseSpec):
    """`cut`: the gradient is made shorter."""

    name: Literal["cut"]
    """Which defense."""
    share: Share
    """What is left of its length."""

    parameter: ClassVar[str] = "share"
    unused: ClassVar[tuple[str, ...]] = ("sam",)

    def gradient(self, gradients, generator):
        return self.share * gradients

    def notes(self, train, members, before):
        yield f"Training left {self.share:g} of each step's gradient{before}"


class CutTraining(CutDefense):
    """`cut`: each step's gradient is made shorter."""

    share: OneShare
    """What is left of its length."""


register(CutDefense, CutTraining)
'''
QUICK = {
    "audit__views": ONE_VIEW,
    "audit__games": ["label"],
    "audit__epochs": [1],
    "data__limit": 160,
    "train__epochs": 1,
}
CUT = {"name": "cut", "share": 0.25}


@pytest.fixture(autouse=True)
def cut(tmp_path, monkeypatch):
    """The module is imported, as a user's plugin would be, and forgotten afterwards."""
    for registry in (DEFENSES, TRAIN_DEFENSES):
        monkeypatch.setattr(registry, "_classes", dict(registry.classes))
    (tmp_path / "cut_defense.py").write_text(MODULE)
    monkeypatch.syspath_prepend(str(tmp_path))
    __import__("cut_defense")
    yield
    sys.modules.pop("cut_defense")


def test_its_settings_are_checked_and_in_the_schema(tmp_path):
    schema = json_schema()
    view, trained = (schema["$defs"][name]["properties"]["defense"] for name in ("ViewSpec", "TrainSpec"))
    assert {"$ref": "#/$defs/CutDefense"} in view["anyOf"][0]["oneOf"]
    assert {"$ref": "#/$defs/CutTraining"} in trained["anyOf"][0]["oneOf"]
    assert schema["$defs"]["CutTraining"]["properties"]["share"]["exclusiveMaximum"] == 1
    for defense, said in (
        ({"name": "cut"}, "`train.defense.share` is missing"),
        ({"name": "cut", "share": 2}, "`train.defense.share`: expected a number below 1"),
        ({"name": "cut", "share": 0.5, "ratio": 0.5}, "`ratio` is not used by defense `cut`"),
        ({"name": "cit", "share": 0.5}, "unknown defense `cit` of the training (did you mean `cut`?)"),
    ):
        result = call("check", write_spec(tmp_path, **QUICK, train__defense=defense))
        assert result.exit_code == 2
        assert said in result.stderr
    result = call("check", write_spec(tmp_path, **QUICK, train__defense=CUT, train__sam={}))
    assert "`sam` is not used by training with `defense: cut`" in result.stderr


def test_it_is_shown_on_a_view_and_trained_with(tmp_path):
    views = [*ONE_VIEW, {"name": "cut", "batch_size": 2, "defense": CUT}]
    quick = QUICK | {"audit__views": views}
    spec = write_spec(tmp_path, **quick, defenses=[{"name": "cut", "share": [0.25, 0.5]}])
    checked = call("check", spec)
    assert checked.exit_code == 0, checked.output
    out = tmp_path / "out"
    result = call("run", spec, "--out", out)
    assert result.exit_code == 0, result.output
    with (out / "leakage.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert {row["trained_with"] for row in rows} == {"none", "cut-0.25", "cut-0.5"}
    assert {row["knowledge"] for row in rows if row["view"] == "cut"} == {"adaptive", "static"}
    with (out / "defenses.csv").open() as file:
        lines = list(csv.DictReader(file))
    assert {line["defense"] for line in lines} == {"none", "cut-0.25", "cut-0.5"}
    assert {(line["parameter"], line["strength"]) for line in lines} >= {("share", "0.25"), ("share", "0.5")}
    warnings = json.loads((out / "manifest.json").read_text())["warnings"]
    assert any(text.startswith("Defense cut-0.5: Training left 0.5 of each step's gradient") for text in warnings)
    resolved = yaml.safe_load((out / "spec.resolved.yaml").read_text())
    assert resolved["defenses"] == [CUT, {"name": "cut", "share": 0.5}]
    losses = {line["trained_with"]: float(line["held_out_loss"]) for line in lines}
    assert losses["cut-0.25"] > losses["cut-0.5"] > losses["none"]  # shorter steps
