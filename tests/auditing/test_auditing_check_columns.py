"""What `check` says of the records: columns, classes, frozen layers, games that cannot be conclusive, checkpoints."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from audit_case import ONE_VIEW, call, write_spec
from PIL import Image
from torch import nn

from ptaudit.auditing import check
from ptaudit.auditing.check import frozen_entries
from ptaudit.auditing.checkpoint_alarm import worse_than_a_guess
from ptaudit.auditing.columns import column_entries, unseen_levels
from ptaudit.auditing.foretell import foretell
from ptaudit.auditing.opening import open_session
from ptaudit.auditing.warnings.subject import Subject
from ptaudit.report import Page, open_format
from ptaudit.report.columns import FrozenEntry
from ptaudit.report.limits import limits_block
from ptaudit.spec.load import load

CPU = torch.device("cpu")
SMALL = {"audit__views": ONE_VIEW, "train__epochs": 1, "audit__epochs": [1], "audit__games": ["membership"]}
HEADER = "age,flat,when,job,town,who,note,y\n"


def row(i):
    age = "" if i == 3 else str(20 + i % 7)
    town = f"town{i // 10}"  # held-out towns are their own: see `split`
    return f"{age},5,2020-01-{1 + i % 9:02d},{('cook', 'nurse', '')[i % 3]},{town},u{i % 6},n{i},{i % 2}\n"


@pytest.fixture
def table(tmp_path):
    """Opens the session of a table of 100 records, of which the first 50 are members."""

    def session(**changes):
        (tmp_path / "t.csv").write_text(HEADER + "".join(map(row, range(100))), encoding="utf-8")
        (tmp_path / "in.txt").write_text("\n".join(map(str, range(50))), encoding="utf-8")
        columns = {"label": "y", "user": "who", "attributes": ["job"], "drop": ["note"]}
        data = {"source": "csv:t.csv", "members": "in.txt", **columns}
        return open_session(load(write_spec(tmp_path, data=data, **{**SMALL, **changes})), CPU)

    return session


def test_every_column_and_what_becomes_of_it(table):
    found = {entry.name: entry for entry in column_entries(table())}
    assert list(found) == ["age", "flat", "when", "job", "town", "who", "note", "y"]
    said = {name: (e.kind, e.levels, e.missing, e.becomes, e.inputs) for name, e in found.items()}
    assert said == {
        "age": ("number", None, 1, "standardised", 1),
        "flat": ("number", None, 0, "standardised, the same for all members", 1),
        "when": ("date", None, 0, "standardised", 1),
        "job": ("category", 2, 33, "one-hot, 4 inputs; attribute", 4),  # cook, nurse, (missing), other
        "town": ("category", 10, 0, "one-hot, 6 inputs", 6),
        "who": ("category", 6, 0, "user", 0),
        "note": ("category", None, 0, "dropped", 0),
        "y": ("number", 2, 0, "label, 2 classes", 0),
    }
    assert (found["job"].other, found["town"].other, found["age"].other) == (0.0, 1.0, None)


def test_categories_that_no_member_has_are_warned_of(table):
    assert list(unseen_levels(table())) == [
        "Held-out records have categories that hardly a member has (town 100%): they tell members apart, whatever was "
        "trained."
    ]
    assert list(unseen_levels(table(data__drop=["note", "town"]))) == []


def test_wide_tables_are_short_and_json_has_all(tmp_path):
    names = [f"p{k}" for k in range(64)]
    rows = np.random.default_rng(0).normal(size=(120, 64)).round(3)
    text = "".join(",".join(map(str, one)) + f",{i % 10}\n" for i, one in enumerate(rows))
    (tmp_path / "t.csv").write_text(",".join(names) + ",y\n" + text, encoding="utf-8")
    few = {**SMALL, "audit__games": ["label"], "audit__records": 40}
    spec = write_spec(tmp_path, data={"source": "csv:t.csv", "label": "y"}, **few)
    report = check(spec)
    plain, found = (open_format(name).render(report, Page()) for name in ("plain", "json"))
    lines = [line.split() for line in plain.splitlines() if line.startswith("column")]
    assert lines == [
        ["column", "p0", "…", "p63", "(64)", "number", "standardised"],
        ["column", "y", "number", "10", "label,", "10", "classes"],
    ]
    found = json.loads(found)
    assert [column["name"] for column in found["columns"]] == [*names, "y"]
    assert found["class_names"] == list("0123456789")


def test_folders_name_their_classes(tmp_path):
    for name in ("cat", "dog"):
        (tmp_path / "pictures" / name).mkdir(parents=True)
        for k in range(12):
            Image.new("L", (8, 8), k).save(tmp_path / "pictures" / name / f"{k}.png")
    spec = load(write_spec(tmp_path, data={"source": "folder:pictures", "grayscale": True}, **SMALL))
    assert open_session(spec, CPU).records.class_names == ("cat", "dog")


def test_what_is_not_trained_is_named():
    model = nn.Sequential(nn.Linear(4, 3), nn.Sequential(nn.Linear(3, 3), nn.ReLU()), nn.Linear(3, 2))
    assert frozen_entries(model) == ()
    model[1].requires_grad_(False)
    model[2].bias.requires_grad_(False)
    assert frozen_entries(model) == (FrozenEntry("1.0", 12), FrozenEntry("2.bias", 2))
    model[0].weight = model[1][0].weight = nn.Parameter(torch.ones(3, 3), requires_grad=False)  # shared: counted once
    assert frozen_entries(model) == (FrozenEntry("0.weight", 9), FrozenEntry("1.0", 3), FrozenEntry("2.bias", 2))


def warned(tmp_path, **changes):
    session = open_session(load(write_spec(tmp_path, **{**SMALL, **changes})), CPU)
    limits, gates = foretell(Subject(session, torch.nn.Identity()))
    told = limits_block(limits, gates).lines
    return [line.text for line in told if "inconclusive" in line.text]


def test_games_that_cannot_be_conclusive_are_named_with_what_they_need(tmp_path):
    assert warned(tmp_path) == [
        "membership.tpr_at_fpr_0.01: inconclusive, whatever leaks: FPR 0.01 needs 500 non-members, there are 160",
        "membership.tpr_at_fpr_0.001: inconclusive, whatever leaks: FPR 0.001 needs 5000 non-members, there are 160",
        "membership.tnr_at_fnr_0.01 by loss: inconclusive, whatever leaks: FPR 0.01 needs 500 members, there are 160",
    ]
    (few,) = warned(tmp_path, audit__records=20)
    assert few.endswith("needs 40 members and as many non-members, has 20")
    numbers = {"data": {"source": "data.py:numbers"}, "model__entry": "models.py:regression", "train__loss": "mse"}
    (label,) = warned(tmp_path, **numbers, audit__games=["label"])
    assert label.endswith("whatever leaks: the targets are numbers, and it is about one class a record")
    with_property = [{"name": "property", "secret": "label", "values": [3]}]
    (game,) = warned(tmp_path, audit__games=with_property)
    assert "needs 24 records with the property, has " in game


def test_a_label_of_several_parts_is_named(tmp_path):
    changes = {"data": {"source": "parts.py:parts"}, "train__loss": "bce", "model": {"entry": "models.py:net"}}
    (tmp_path / "parts.py").write_text(
        "import torch\ndef parts():\n    g = torch.Generator().manual_seed(0)\n"
        "    return torch.randn(160, 64, generator=g), torch.randint(0, 2, (160, 10), generator=g).float()\n",
        encoding="utf-8",
    )
    games = ["label", {"name": "usable-information", "secret": "label"}]
    label, usable = warned(tmp_path, **changes, audit__games=games)
    why = "inconclusive, whatever leaks: a record has a label of shape (10,), and it is about one"
    assert label == f"label on batch-2: {why} class a record"
    assert usable == f"usable-information on batch-2: {why} label a record"


def digits_replay(tmp_path, turn):
    """A spec that replays one checkpoint, of a model whose classes were turned by so many after training."""
    (tmp_path / "ck").mkdir(exist_ok=True)
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 16), nn.ReLU(), nn.Linear(16, 10))
    torch.save(model.state_dict(), tmp_path / "ck" / "epoch1.pt")
    changes = {**SMALL, "audit__games": ["label"]}
    del changes["train__epochs"]
    spec = write_spec(tmp_path, **changes, train=None, replay={"checkpoints": "ck/*.pt"})
    session = open_session(load(spec), CPU)
    optimizer = torch.optim.Adam(model.parameters(), 0.01)
    inputs, targets = session.batch(session.split.members)
    for _ in range(60):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(inputs), targets).backward()
        optimizer.step()
    last = model[3]
    with torch.no_grad():
        last.weight.copy_(last.weight.roll(turn, 0))
        last.bias.copy_(last.bias.roll(turn, 0))
    torch.save(model.state_dict(), tmp_path / "ck" / "epoch1.pt")
    return spec


@pytest.mark.parametrize(("turn", "alarmed"), [(0, False), (1, True)])
def test_a_replayed_model_that_is_worse_than_a_guess_is_an_alarm(tmp_path, turn, alarmed):
    spec = digits_replay(tmp_path, turn)
    text = "The model at the checkpoint of epoch 1 is right in "
    checked = json.loads(call("check", spec, "--format", "json").stdout)
    assert any(warning.startswith(text) for warning in checked["warnings"]) is alarmed
    assert checked["warnings"][0].startswith(text) is alarmed
    assert checked["checkpoints"] == [{"epoch": 1, "file": "ck/epoch1.pt", "told": "", "audited": True}]
    result = call("run", spec, "--out", tmp_path / "run", "--format", "plain")
    assert result.exit_code == 0, result.output
    assert (f"warning: {text}" in result.stderr) is alarmed
    caveats = [line for line in result.stdout.splitlines() if line.startswith("caveat")]
    assert (text in caveats[0]) is alarmed


def test_chance_itself_is_no_alarm(tmp_path):
    session = open_session(load(digits_replay(tmp_path, 0)), CPU)
    assert worse_than_a_guess(session, 0.11, 1, 160) == ""
    assert worse_than_a_guess(session, 0.0, 0, 160) == ""
    assert "right in 0.0% of the members" in worse_than_a_guess(session, 0.0, 3, 160)
