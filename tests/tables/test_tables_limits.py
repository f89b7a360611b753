"""Files of a run folder that are not what a run writes: one error that names the file, before much is done."""

import json
import sys
from dataclasses import replace
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "report"))

from example_run import example_run

from ptaudit.errors import RunFolderError
from ptaudit.tables.folder import read_run, write_run
from ptaudit.tables.formats import read_json
from ptaudit.tables.table import Table


@pytest.fixture
def folder(tmp_path):
    write_run(example_run(), tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"a": NaN}', "not JSON: NaN is no number"),
        ('{"a": -Infinity}', "not JSON: -Infinity is no number"),
        ('{"a": ' + "9" * 5000 + "}", "not JSON: 99999999999999999999... is too large"),
        ("[" * 100_000, "nested too deeply"),
        ('{"a": 1}}', "not JSON: Extra data"),
    ],
)
def test_json_that_no_run_writes(tmp_path, text, said):
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(RunFolderError, match="a\\.json") as caught:
        read_json(tmp_path / "a.json")
    assert said in str(caught.value)


def test_json_of_any_size_is_not_read(tmp_path):
    with (tmp_path / "a.json").open("wb") as file:
        file.truncate(10**10)  # takes no room on the disk
    with pytest.raises(RunFolderError, match="larger than 100,000,000 bytes"):
        read_json(tmp_path / "a.json")


@pytest.mark.parametrize(
    ("entry", "value"),
    [
        ("seeds", 3),
        ("seeds", ["../../elsewhere", "0"]),
        ("seeds", [-1]),
        ("warnings", "text"),
        ("warnings", [None]),
        ("threat_model", {"a": 1}),
        ("members", "many"),
        ("members", -5),
        ("held_out_majority", []),
        ("status", ["complete"]),
        ("name", 3),
        ("table_version", "2"),
        ("table_version", True),
        ("code_sha256", ["a"]),
        ("checkpoints", [{"epoch": 1}]),
        ("defenses", [{"title": "prune-0.5"}]),
        ("defenses", [None]),
        ("split_sha256", 7),
        ("layers", [{"name": "a"}]),
        ("layers", 5),
        ("alarms", 5),
        ("alarms", "text"),
    ],
)
def test_entries_of_a_manifest_that_are_not_what_they_are_used_for(folder, entry, value):
    path = folder / "manifest.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), entry: value}))
    with pytest.raises(RunFolderError) as caught:
        read_run(folder)
    assert str(path) in str(caught.value)
    assert {"layers": "a list of LayerEntry"}.get(entry, entry) in str(caught.value)


def test_names_are_read_back_as_they_were(tmp_path):
    names = ["=1+1", "'=1+1", "a\n\x1b[2J", "\\x1b", "\ud800|@x", "-1", "\u202eabc"]
    run = example_run()
    known = {layer.name: name for layer, name in zip(run.layers, names)}
    rows = Table.of([replace(row, layer=known.get(row.layer, row.layer)) for row in run.rows])
    layers = tuple(replace(layer, name=known[layer.name]) for layer in run.layers)
    write_run(replace(run, rows=rows, layers=layers), tmp_path)
    found = read_run(tmp_path)
    assert [row.key for row in found.rows] == [row.key for row in rows]
    assert [layer.name for layer in found.layers] == [layer.name for layer in layers]
    for path in tmp_path.iterdir():
        if path.suffix in (".csv", ".json"):
            assert path.read_text(encoding="utf-8").replace("\n", "").isprintable()
