"""Hashes in the manifest find what changed by accident, and leave alone what is only written another way."""

import hashlib
import json
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "report"))

from example_run import example_run

from ptaudit.errors import RunFolderError
from ptaudit.tables.digests import digest, digest_of
from ptaudit.tables.folder import read_run, write_run


@pytest.fixture
def folder(tmp_path):
    run = example_run()
    seeded = replace(run, manifest={**run.manifest, "seeds": [0, 1]}, seeds=(run.rows, run.rows))
    (tmp_path / "encoders").mkdir()
    (tmp_path / "encoders" / "seed-0-record.safetensors").write_bytes(b"\r\n\x00weights")
    (tmp_path / "samples.csv").write_text("seed,epoch\n0,1\n")
    (tmp_path / "notes.txt").write_text("the user's own")
    write_run(seeded, tmp_path, {"report.md": "# report\n"})
    return tmp_path


def listed(folder):
    return json.loads((folder / "manifest.json").read_text())["files"]


def error_of(folder):
    with pytest.raises(RunFolderError) as caught:
        read_run(folder)
    return str(caught.value)


def test_every_file_of_the_run_is_listed_with_its_sha256(folder):
    there = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert set(listed(folder)) == there - {"manifest.json", "notes.txt"}
    assert {"seeds/1/leakage.csv", "samples.csv", "encoders/seed-0-record.safetensors"} < set(listed(folder))
    for name, found in listed(folder).items():
        assert found == hashlib.sha256((folder / name).read_bytes()).hexdigest()
    assert "files" not in read_run(folder).manifest


def test_each_file_that_changed_is_named_with_the_remedy(folder):
    for name in listed(folder):
        path = folder / name
        before = path.read_bytes()
        if name.endswith(".csv"):
            path.write_bytes(before.replace(b"0.7", b"0.70", 1) if b"0.7" in before else before + b"9,9\n")
        elif name.endswith("npz"):
            path.write_bytes(before[:-1] + b"\x01")
        else:
            path.write_bytes(before.replace(b"1", b"2", 1) if b"1" in before else before + b" ")
        assert path.read_bytes() != before
        assert name in error_of(folder)
        path.write_bytes(before)
    read_run(folder)


def test_all_changed_files_are_named_at_once(folder):
    for name in ("report.md", "timings.json"):
        (folder / name).write_bytes((folder / name).read_bytes() + b"\n")
    said = error_of(folder)
    assert "timings.json, report.md" in said or "report.md, timings.json" in said
    assert "not as written with this manifest (SHA-256 differs) (fetch or copy the run again" in said


def test_of_a_baseline_the_files_that_are_there_are_verified(folder, tmp_path_factory):
    baseline = tmp_path_factory.mktemp("baseline")
    for name in ("leakage.csv", "manifest.json"):
        shutil.copy(folder / name, baseline / name)
    shutil.copytree(folder / "seeds", baseline / "seeds")
    assert len(read_run(baseline).rows) == len(read_run(folder).rows)
    path = baseline / "seeds" / "1" / "leakage.csv"
    path.write_text(path.read_text().replace(",898,", ",899,", 1))
    assert "seeds/1/leakage.csv is not as written" in error_of(baseline)


def test_line_ends_of_another_system_are_no_change(folder):
    for name in listed(folder):
        if not name.endswith((".npz", ".safetensors")):
            path = folder / name
            path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
    (folder / "manifest.json").write_bytes((folder / "manifest.json").read_bytes().replace(b"\n", b"\r\n"))
    read_run(folder)
    path = folder / "encoders" / "seed-0-record.safetensors"
    path.write_bytes(path.read_bytes().replace(b"\r\n", b"\n"))
    assert "encoders/seed-0-record.safetensors is not as written" in error_of(folder)


@pytest.mark.parametrize("cut", range(1, 8))
def test_line_ends_are_told_wherever_the_file_is_cut(tmp_path, monkeypatch, cut):
    monkeypatch.setattr("ptaudit.tables.digests._AT_ONCE", cut)
    path = tmp_path / "t.csv"
    path.write_bytes(b"a\r\n\r\nb\r\r\n\rc\r\n\r")
    assert digest(path) == hashlib.sha256(b"a\n\nb\r\n\rc\n\r").hexdigest()
    assert digest(path) == digest_of("a\r\n\r\nb\r\r\n\rc\r\n\r")


@pytest.mark.parametrize(
    "files", [[], "x", 1, {"../leakage.csv": "x"}, {"/dev/zero": "x"}, {"a\0b": "x"}, {"seeds/../../x": "x"}]
)
def test_a_list_that_is_none_is_refused(folder, files):
    path = folder / "manifest.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "files": files}))
    assert "manifest.json: files: not hashes by names of files" in error_of(folder)


def test_a_manifest_of_before_is_read_without(folder):
    path = folder / "manifest.json"
    said = json.loads(path.read_text())
    del said["files"]
    path.write_text(json.dumps(said))
    (folder / "report.md").write_text("another")
    assert read_run(folder).name == "digits-lenet"


def test_what_is_written_again_has_hashes_of_its_own(folder, tmp_path_factory):
    again = tmp_path_factory.mktemp("again")
    write_run(read_run(folder), again)
    assert set(listed(again)) < set(listed(folder))
    assert listed(again)["seeds/1/leakage.csv"] == listed(folder)["seeds/1/leakage.csv"]
    read_run(again)
