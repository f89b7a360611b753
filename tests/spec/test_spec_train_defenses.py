"""`train.defense`: every kind with its ranges, and what it does not go with."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from ptaudit.defenses.dp.accounting import dp_of
from ptaudit.errors import SpecError
from ptaudit.spec.load import dump, load
from ptaudit.spec.model import json_schema
from ptaudit.spec.train import SamSpec

Write = Callable[..., Path]

BASE = """\
version: 1
name: small
model: {entry: net.py:net}
data: {source: "csv:${HERE}/t.csv", label: income, attributes: [sex, race]}
train:
  epochs: 3
"""
GOOD = {
    "{name: prune, ratio: 0.9}": {"ratio": 0.9},
    "{name: sign}": {},
    "{name: perturb}": {"size": 0.1},
    "{name: perturb, size: 2, attribute: race}": {"size": 2.0, "attribute": "race"},
    "{name: vib, beta: 0.01}": {"beta": 0.01},
    "{name: vib, beta: 1, width: 16}": {"beta": 1.0, "width": 16},
    "{name: dropout, rate: 0.5}": {"rate": 0.5},
    "{name: label_dp, epsilon: 3}": {"epsilon": 3.0},
}
MISTAKES = [
    ("defense: sign", "7: `train.defense`: expected {name: ...} with the name of a defense, given the text 'sign'"),
    ("defense: {ratio: 0.5}", "7: `train.defense`: expected {name: ...} with the name of a defense"),
    ("defense: {name: pruning}", "7: unknown defense `pruning` of the training (did you mean `prune`?)"),
    ("defense: {name: dp}", "7: unknown defense `dp` of the training (in training it is `dp_sgd`)"),
    ("defense: {name: prune}", "7: `train.defense.ratio` is missing"),
    ("defense: {name: prune, ratio: 0}", "7: `train.defense.ratio`: expected a number above 0"),
    ("defense: {name: prune, ratio: 1}", "7: `train.defense.ratio`: expected a number below 1"),
    ("defense: {name: prune, ratio: [0.5, 0.9]}", "7: `train.defense.ratio`: expected a number, given a list"),
    ("defense: {name: prune, rato: 0.5}", "7: unknown key `rato` in `train.defense` (did you mean `ratio`?)"),
    ("defense: {name: sign, ratio: 0.5}", "7: `ratio` is not used by defense `sign` (remove it)"),
    ("defense: {name: perturb, size: 0}", "7: `train.defense.size`: expected a number above 0"),
    ("defense: {name: perturb, attribute: rce}", "7: `rce` is not among data.attributes (did you mean `race`?)"),
    ("defense: {name: vib}", "7: `train.defense.beta` is missing"),
    ("defense: {name: vib, beta: 0}", "7: `train.defense.beta`: expected a number above 0"),
    ("defense: {name: vib, beta: 1, width: 0}", "7: `train.defense.width`: expected at least 1"),
    ("defense: {name: dropout, rate: 1}", "7: `train.defense.rate`: expected a number below 1"),
    ("defense: {name: label_dp, epsilon: 0}", "7: `train.defense.epsilon`: expected a number above 0"),
    ("defense: {name: label_dp, epsilon: 1}\n  loss: mse", "7: defense `label_dp` randomises classes"),
    ("defense: {name: prune, ratio: 0.5}\n  sam: {}", "8: `sam` is not used by training with `defense: prune` (remove"),
    ("defense: {name: perturb}\n  sam: {}", "8: `sam` is not used by training with `defense: perturb` (remove it)"),
    ("defense: {name: sign}\n  sam: {}", "8: `sam` is not used by training with `defense: sign` (remove it)"),
    (
        "defense: {name: sign}\n  clip_norm: 1",
        "8: `clip_norm` is not used by training with `defense: sign` (remove it)",
    ),
]


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HERE", str(tmp_path))
    (tmp_path / "t.csv").write_text("sex,race,income\n")


@pytest.mark.parametrize("text", GOOD)
def test_every_defense_is_read_with_its_defaults_and_written_back(write: Write, text: str) -> None:
    spec = load(write(f"{BASE}  defense: {text}\n"))
    defense = spec.train.defense
    assert {key: getattr(defense, key) for key in GOOD[text]} == GOOD[text]
    assert dp_of(spec.train) is None
    again = load(write(dump(spec), name="again.yaml"))
    assert again.train == spec.train


@pytest.mark.parametrize(
    "more",
    ["clip_norm: 1\n  precision: bf16\n  accumulate: 4", "optimizer: {name: adam}\n  schedule: {name: cosine}"],
)
@pytest.mark.parametrize("text", [text for text in GOOD if "sign" not in text])
def test_defenses_go_with_other_ways_of_stepping(write: Write, text: str, more: str) -> None:
    train = load(write(f"{BASE}  defense: {text}\n  {more}\n")).train
    assert (train.defense.name, train.clip_norm, train.optimizer.name) == (
        re.search(r"name: (\w+)", text)[1], *((1.0, "sgd") if "clip_norm" in more else (None, "adam")),
    )  # fmt: skip


@pytest.mark.parametrize("text", ["{name: vib, beta: 1}", "{name: dropout, rate: 0.5}", "{name: label_dp, epsilon: 1}"])
def test_layers_and_labels_go_with_sam(write: Write, text: str) -> None:
    train = load(write(f"{BASE}  defense: {text}\n  sam: {{}}\n")).train
    assert (train.defense.name, train.sam) == (re.search(r"name: (\w+)", text)[1], SamSpec())


@pytest.mark.parametrize(("text", "expected"), MISTAKES, ids=[text for text, _ in MISTAKES])
def test_mistake_is_named_with_its_line(write: Write, text: str, expected: str) -> None:
    path = write(f"{BASE}  {text}\n")
    with pytest.raises(SpecError) as caught:
        load(path)
    assert str(caught.value).startswith(f"{path}:{expected}")


def test_the_label_is_no_attribute_to_perturb_for(write: Write) -> None:
    text = BASE.replace("[sex, race]", "[sex, income]") + "  defense: {name: perturb, attribute: income}\n"
    with pytest.raises(SpecError, match=r"about `income`, which is the label"):
        load(write(text))


def test_the_schema_offers_every_defense() -> None:
    schema = json_schema()
    options = schema["$defs"]["TrainSpec"]["properties"]["defense"]
    listed = str(options)
    for part in ("DpSgdSpec", "PruneTraining", "SignDefense", "PerturbTraining", "VibTraining", "DropoutTraining"):
        assert f"#/$defs/{part}'" in listed, part
    assert "#/$defs/LabelDpTraining'" in listed
    assert "#/$defs/DpDefense'" not in listed
    ratio = schema["$defs"]["PruneTraining"]["properties"]["ratio"]
    assert (ratio["exclusiveMinimum"], ratio["exclusiveMaximum"]) == (0, 1)
