"""Tables of another run, version, code or data are never mixed in; and paths are what they say, however they look."""

from __future__ import annotations

import json
import os
import shutil

import pytest
from audit_case import MODELS, call, tables, write_spec
from fault_case import SHORT, fail_at, goes_on, one_line, run

import ptaudit
from ptaudit.tables import folder as run_folders

# What is mixed in


def test_two_runs_into_one_folder_of_which_one_has_just_ended(home, tmp_path, monkeypatch):
    """Both found the folder empty; the other was quicker."""
    out = tmp_path / "run"
    honest = ptaudit.auditing.folder.check

    def slow_check(folder, **flags):
        honest(folder, **flags)
        shutil.copytree(home / "undisturbed", out)

    with monkeypatch.context() as patch:
        patch.setattr("ptaudit.auditing.folder.check", slow_check)
        one_line(run(home, out), f"{out}: another run has just ended here (--fresh to replace it, or another --out)")
    assert tables(out) == tables(home / "undisturbed")


@pytest.mark.parametrize("whole", [False, True])
def test_another_version_is_refused_with_the_difference_named(home, tmp_path, monkeypatch, whole):
    out, version = tmp_path / "run", ptaudit.__version__
    with monkeypatch.context() as patch:
        if not whole:
            fail_at(patch, 4, KeyboardInterrupt())
        assert run(home, out).exit_code == (0 if whole else 130)
    with monkeypatch.context() as patch:
        patch.setattr("ptaudit.__version__", "9.9")
        one_line(run(home, out, "--resume"), f"ptaudit was {version}, is now 9.9", "--fresh")
    goes_on(home, out)


LOSS = "import helper\n\ndef loss(output, target):\n    return helper.loss(output, target)\n"
HELPER = "from torch.nn import functional as F\n\ndef loss(o, t):\n    return F.cross_entropy(o, t, reduction='none')\n"


@pytest.mark.parametrize("whole", [False, True])
@pytest.mark.parametrize("changed", ["models.py", "loss.py", "helper.py"])
def test_other_code_is_refused_with_its_file_named(tmp_path, monkeypatch, whole, changed):
    path, out = write_spec(tmp_path, **SHORT, train__loss="loss.py:loss"), tmp_path / "run"
    texts = {"models.py": MODELS, "loss.py": LOSS, "helper.py": HELPER}
    for name, text in texts.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    with monkeypatch.context() as patch:
        if not whole:
            fail_at(patch, 4, KeyboardInterrupt())
        assert call("run", path, "--out", out, "-q").exit_code == (0 if whole else 130)
    (tmp_path / changed).write_text(texts[changed] + "# changed\n", encoding="utf-8")
    one_line(call("run", path, "--out", out, "-q", "--resume"), f"code of {tmp_path / changed} was ")
    (tmp_path / changed).write_text(texts[changed], encoding="utf-8")
    assert call("run", path, "--out", out, "-q", "--resume").exit_code == 0


def test_other_data_are_refused_when_the_run_is_whole(tmp_path):
    out = tmp_path / "run"
    options = {**SHORT, "model__entry": "models.py:regression", "train__loss": "mse", "audit__records": 40}
    path = write_spec(tmp_path, **options, data={"source": "data.py:numbers"})
    assert call("run", path, "--out", out, "-q").exit_code == 0
    text = (tmp_path / "data.py").read_text(encoding="utf-8")
    (tmp_path / "data.py").write_text(text.replace("manual_seed(0)", "manual_seed(1)"), encoding="utf-8")
    one_line(call("run", path, "--out", out, "-q", "--resume"), "holds another run: data was ")


def test_a_resolved_spec_that_is_damaged_is_named(home, tmp_path):
    shutil.copytree(home / "undisturbed", tmp_path / "run")
    (tmp_path / "run" / run_folders.SPEC).write_text("a: [", encoding="utf-8")
    one_line(run(home, tmp_path / "run", "--resume"), "spec.resolved.yaml is not as written with this manifest")
    manifest = tmp_path / "run" / "manifest.json"
    content = json.loads(manifest.read_text(encoding="utf-8"))
    manifest.write_text(json.dumps({**content, "files": {}}), encoding="utf-8")
    one_line(run(home, tmp_path / "run", "--resume"), "its spec.resolved.yaml is damaged", "--fresh")


# Paths


def test_paths_with_blanks_and_letters_of_all_kinds(home, tmp_path):
    place = tmp_path / "mes données [1]" / "スペック 100%"
    place.mkdir(parents=True)
    path = write_spec(place, **SHORT)
    path = path.rename(place / "мой spec.yaml")
    result = call("run", path, "--out", place / "прогон 1", "-q")
    assert result.exit_code == 0, result.output
    assert tables(place / "прогон 1") == tables(home / "undisturbed")
    assert call("show", place / "прогон 1").exit_code == 0


def test_relative_paths_from_elsewhere(home, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    relative = os.path.relpath(home / "spec.yaml")
    assert call("run", relative, "--out", "here", "-q").exit_code == 0
    assert tables(tmp_path / "here") == tables(home / "undisturbed")
    assert call("run", relative, "-q").exit_code == 0
    assert (tmp_path / "runs" / "small" / "leakage.csv").is_file()


def test_a_link_to_a_spec_means_the_spec_where_it_lies(home, tmp_path):
    (tmp_path / "link.yaml").symlink_to(home / "spec.yaml")
    assert call("run", tmp_path / "link.yaml", "--out", tmp_path / "run", "-q").exit_code == 0
    assert tables(tmp_path / "run") == tables(home / "undisturbed")
