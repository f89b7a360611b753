import csv
import io
import json
import math
import re
from dataclasses import replace

import numpy as np
import pytest
from table_builders import lost_row, make_row, make_run, rows_of

from ptaudit.errors import RunFolderError
from ptaudit.files import write_whole
from ptaudit.tables.folder import read_leakage, read_run, write_run
from ptaudit.tables.formats import csv_text, json_text
from ptaudit.tables.row import COLUMNS
from ptaudit.tables.run import EpochEntry, LayerEntry
from ptaudit.tables.table import Table
from ptaudit.tables.verdict import Verdict

NAN = math.nan
FILES = {
    "bootstrap.npz",
    "epochs.csv",
    "gates.json",
    "layer_epoch.csv",
    "layers.csv",
    "leakage.csv",
    "manifest.json",
    "report.md",
    "spec.resolved.yaml",
    "summary.json",
    "timings.json",
}


def verdict(**changes):
    fields = {"id": "leak", "metric": "identity.bits", "view": "batch-8", "over": "layers", "epoch": "last"}
    numbers = {"threshold": 1.5, "value": NAN, "lo": NAN, "hi": NAN, "rows": 3}
    worst = {"worst_layer": "fc", "worst_epoch": 4, "worst_adversary": "likelihood-ratio"}
    return Verdict(**{**fields, **numbers, **worst, "kind": "max", "outcome": "inconclusive", "reason": "x", **changes})


@pytest.fixture
def run():
    generator = np.random.default_rng(0)
    rows = [
        *rows_of(2 + generator.standard_normal((3, 60)), epoch=0, step=0),
        *rows_of(3 + generator.standard_normal((3, 60)), epoch=4),
        lost_row('odd, "layer"', status="not captured: records mixed in the forward pass"),
        make_row("*", 5.0, ceiling=NAN),
    ]
    layers = [LayerEntry(f"l{k}", k, "Linear", 10, "rule", "") for k in range(3)]
    layers.append(LayerEntry('odd, "layer"', 3, "BatchNorm2d", 8, "none", "records mixed in the forward pass"))
    epochs = [EpochEntry(0, 0, 2.3, 0.1, 2.31, 0.1, NAN), EpochEntry(4, 40, 0.123456789, 0.9, 0.5, 0.85, NAN)]
    made = make_run(rows, "näme", layers=layers, epochs=epochs, spec_text="version: 1\n", seeds_note=None)
    return replace(made, verdicts=(verdict(),), timings={"training": 1.25, "games": 2.5})


def assert_same(one, other, digits):
    for column in COLUMNS:
        left, right = getattr(one, column), getattr(other, column)
        assert right == (pytest.approx(left, rel=10.0**-digits, nan_ok=True) if isinstance(left, float) else left)


def test_what_is_written_is_read_back(run, tmp_path):
    write_run(run, tmp_path / "r", {"report.md": "# report\n"})
    assert {path.name for path in (tmp_path / "r").iterdir()} == FILES
    back = read_run(tmp_path / "r")
    assert (back.name, back.layers, back.spec_text, back.seeds) == (run.name, run.layers, run.spec_text, ())
    assert (dict(back.manifest), dict(back.timings)) == (dict(run.manifest), dict(run.timings))
    assert len(back.rows) == len(run.rows)
    for one, other in zip(run.rows, back.rows):
        assert_same(one, other, 5)
    assert np.array_equal(back.rows.draws.places, run.rows.draws.places)
    assert np.allclose(back.rows[:6].joint_draws(), run.rows[:6].joint_draws(), rtol=1e-6)
    assert back.rows.joint_draws() is None
    assert str(back.epochs) == str(run.epochs).replace("0.123456789", "0.123457")
    assert str(back.verdicts) == str(run.verdicts)


def test_same_run_same_bytes(run, tmp_path):
    for name in ("a", "b"):
        write_run(run, tmp_path / name, {"report.md": "# report\n"})
    for name in FILES:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes(), name
    write_run(read_run(tmp_path / "a"), tmp_path / "c", {"report.md": "# report\n"})
    manifests = [json.loads((tmp_path / name / "manifest.json").read_text()) for name in ("a", "c")]
    assert [{**said, "files": {}} for said in manifests] == [{**manifests[0], "files": {}}] * 2
    for name in ("leakage.csv", "epochs.csv", "gates.json", "layer_epoch.csv"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "c" / name).read_bytes(), name


def test_tables_alone_are_a_run(run, tmp_path):
    write_run(run, tmp_path / "r")
    for path in (tmp_path / "r").iterdir():
        if path.name != "leakage.csv":
            path.unlink()
    back = read_run(tmp_path / "r")
    assert back.name == "r"
    assert back.rows.draws is None
    assert (back.epochs, back.verdicts, back.spec_text, back.token_dim) == ((), (), "", None)
    assert [(layer.name, layer.capture) for layer in back.layers][-1] == ('odd, "layer"', "none")
    assert back.layers[-1].reason == "records mixed in the forward pass"


def test_seed_tables_stand_in_folders_of_their_seeds(run, tmp_path):
    tables = [Table.of(rows_of(np.random.default_rng(s).standard_normal((2, 60)) + 3)) for s in (10, 9)]
    seeded = replace(run, manifest={**run.manifest, "seeds": [10, 9]}, seeds=tuple(tables))
    write_run(seeded, tmp_path / "r")
    assert (tmp_path / "r" / "seeds" / "10" / "leakage.csv").is_file()
    back = read_run(tmp_path / "r")
    for table, other in zip(tables, back.seeds, strict=True):
        for one, two in zip(table, other, strict=True):
            assert_same(one, two, 5)


def test_numbers_are_short_lf_and_blank_for_nan():
    text = csv_text(["a", "b"], [[0.1 + 0.2, NAN], [-0.0, 1e-12], [3, 'say "x", y']])
    assert text == 'a,b\n0.3,\n0,1e-12\n3,"say ""x"", y"\n'


def test_json_has_null_for_what_is_not_finite_and_sorted_keys():
    text = json_text({"b": [NAN, math.inf, 1.5], "a": {"c": (1, None)}})
    assert json.loads(text) == {"a": {"c": [1, None]}, "b": [None, None, 1.5]}
    assert text.index('"a"') < text.index('"b"')
    assert "\n  " in text


def test_token_dim_is_read_from_the_resolved_spec(run):
    assert replace(run, spec_text="audit: {tokens: {dim: 64}}").token_dim == 64
    assert replace(run, spec_text="audit: [").token_dim is None


def test_a_failed_write_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "gates.json"
    write_whole(path, "old")

    def fail(self, target):
        raise OSError("disk full")

    monkeypatch.setattr(type(path), "replace", fail)
    with pytest.raises(RunFolderError, match=r"gates\.json: cannot be written: disk full"):
        write_whole(path, "new")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def error_of(call, *arguments) -> str:
    with pytest.raises(RunFolderError) as caught:
        call(*arguments)
    return str(caught.value)


def test_no_run_folder(tmp_path):
    assert "no such run folder" in error_of(read_run, tmp_path / "none")
    (tmp_path / "file").write_text("")
    assert "not a folder" in error_of(read_run, tmp_path / "file")
    assert "no leakage.csv" in error_of(read_run, tmp_path)
    (tmp_path / ".resume").mkdir()
    assert "unfinished run (resume with ptaudit run SPEC --resume)" in error_of(read_run, tmp_path)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda t: t.replace(",hi,", ",high,", 1), "leakage.csv:1: column missing: hi"),
        (
            lambda t: t.replace("\n0,0,l1,", "\nzero,0,l1,", 1),
            "leakage.csv:3: column epoch: 'zero' is not a whole",
        ),
        (lambda t: t.replace(",60,ok\n", ",60\n", 1), "leakage.csv:2: 20 cells where the header has 21"),
        (lambda t: t + t.splitlines()[1] + "\n", "leakage.csv:10: row stands twice: 0, l0, batch-8, identity"),
        (
            lambda t: re.sub(r",8,([^,]*),60,", r",much,\1,60,", t, count=1),
            "leakage.csv:2: column ceiling: 'much' is not a number",
        ),
        (lambda t: t + '"open', "leakage.csv:10: not CSV"),
        (lambda t: "", "leakage.csv: empty file"),
    ],
)
def test_a_malformed_table_is_named_with_its_line(run, tmp_path, damage, message):
    write_run(run, tmp_path)
    path = tmp_path / "leakage.csv"
    before = path.read_text()
    path.write_text(damage(before))
    assert path.read_text() != before
    assert message in error_of(read_leakage, path)


def test_other_damaged_files(run, tmp_path):
    def fresh():
        write_run(run, tmp_path)

    fresh()
    (tmp_path / "manifest.json").write_text('{\n"a": }')
    assert "manifest.json:2: not JSON" in error_of(read_run, tmp_path)
    fresh()
    (tmp_path / "gates.json").write_text('[{"id": "x"}]')
    assert "gates.json: not a list of Verdict" in error_of(read_run, tmp_path)
    fresh()
    (tmp_path / "bootstrap.npz").write_bytes(b"PK no zip")
    assert "bootstrap.npz is not as written" in error_of(read_run, tmp_path)
    (tmp_path / "manifest.json").unlink()
    assert "bootstrap.npz: damaged file (delete it" in error_of(read_run, tmp_path)
    fresh()
    (tmp_path / "leakage.csv").write_bytes(b"\xff\xfe")
    assert "leakage.csv: not UTF-8" in error_of(read_run, tmp_path)


def test_tables_of_another_version_are_refused_with_the_remedy(run, tmp_path):
    write_run(run, tmp_path)
    manifest, table = tmp_path / "manifest.json", tmp_path / "leakage.csv"
    said = json.loads(manifest.read_text())
    assert said["table_version"] == 2
    assert "table_version" not in read_run(tmp_path).manifest
    manifest.write_text(json.dumps({**said, "table_version": 3}))
    assert "tables of version 3; this release reads version 2 (update ptaudit" in error_of(read_run, tmp_path)
    manifest.write_text(json.dumps({k: v for k, v in said.items() if k != "table_version"}))
    assert "tables of version 1; this release reads version 2 (audit it again" in error_of(read_run, tmp_path)
    manifest.unlink()
    assert len(read_run(tmp_path).rows) == len(run.rows)
    rows = list(csv.DictReader(io.StringIO(table.read_text())))
    first = [column for column in rows[0] if column not in ("knowledge", "knows", "trained_with", "detectable")]
    table.write_text("\n".join([",".join(first), *(",".join(row[c] for c in first) for row in rows)]) + "\n")
    assert "leakage.csv: tables of version 1; this release reads version 2" in error_of(read_run, tmp_path)


def test_draws_of_another_table_are_refused(run, tmp_path):
    write_run(run, tmp_path)
    path = tmp_path / "leakage.csv"
    path.write_text(path.read_text().replace(",ok\n", ",dim-limited\n", 1))
    assert "leakage.csv is not as written" in error_of(read_run, tmp_path)
    (tmp_path / "manifest.json").unlink()
    assert "bootstrap.npz: belongs to another leakage.csv (delete it" in error_of(read_run, tmp_path)
    (tmp_path / "bootstrap.npz").unlink()
    assert read_run(tmp_path).rows[0].status == "dim-limited"


def test_line_ends_of_another_system_are_read(run, tmp_path):
    write_run(run, tmp_path)
    before, path = read_run(tmp_path).rows, tmp_path / "leakage.csv"
    path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
    found = read_run(tmp_path).rows
    assert repr([*found]) == repr([*before])
    kept = np.flatnonzero(before.draws.places >= 0)
    one, other = (rows.draws.read(rows.draws.places[kept]) for rows in (before, found))
    assert len(kept) == 6
    assert np.array_equal(one, other)


@pytest.mark.parametrize("place", [400, 4000, -200])
def test_a_flipped_bit_of_the_draws_is_found_without_a_manifest_too(run, tmp_path, place):
    write_run(run, tmp_path)
    (tmp_path / "manifest.json").unlink()
    path = tmp_path / "bootstrap.npz"
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(bytes(content))
    assert "bootstrap.npz: damaged file" in error_of(read_run, tmp_path)


@pytest.mark.parametrize(
    ("draws", "rows"),
    [
        (np.zeros((2, 5), np.float32), [0, 99]),
        (np.zeros((2, 5), np.float32), [0]),
        (np.zeros(5, np.float32), [0]),
        (np.asfortranarray(np.zeros((2, 5), np.float32)), [0, 1]),
        (np.array([["a", "b"], ["c", "d"]]), [0, 1]),
    ],
)
def test_draws_that_are_not_those_of_the_rows_are_refused(run, tmp_path, draws, rows):
    write_run(run, tmp_path)
    (tmp_path / "manifest.json").unlink()
    with np.load(tmp_path / "bootstrap.npz") as stored:
        table = stored["table"]
    np.savez(tmp_path / "bootstrap.npz", draws=draws, rows=np.array(rows), table=table)
    assert "bootstrap.npz: damaged file" in error_of(read_run, tmp_path)
