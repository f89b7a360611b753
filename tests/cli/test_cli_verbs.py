"""What the verbs hand on, print and write."""

from __future__ import annotations

import hashlib
import json
import os
import stat
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import pytest
from example_run import example_run
from typer.testing import CliRunner

from ptaudit.cli import app
from ptaudit.errors import RunFolderError
from ptaudit.report import FORMATS
from ptaudit.tables.folder import write_run

LIMITED = ", on rows that nothing but this adversary limits"


def call(*words, **options):
    return CliRunner().invoke(app, [str(word) for word in words], **options)


def digests(folder):
    return {path: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.rglob("*") if path.is_file()}


def test_run_hands_every_option_on(pipeline):
    words = ["--out", "o", "--device", "cuda:1", "--resume", "--no-gate", "--set", "a=1", "--set", "b=[2]"]
    assert call("run", "spec.yaml", *words, "--inconclusive", "fail", "--address", "auto").exit_code == 0
    spec, options = pipeline.calls[0]
    assert spec == Path("spec.yaml")
    options.pop("progress")
    assert options == {
        "out": Path("o"),
        "device": "cuda:1",
        "fresh": False,
        "resume": True,
        "gate": False,
        "overrides": ("a=1", "b=[2]"),
        "inconclusive": "fail",
        "keep_records": False,
        "address": "auto",
    }


def test_check_hands_every_option_on(pipeline):
    assert call("check", "spec.yaml", "--device", "cpu", "--set", "a=1").exit_code == 0
    assert pipeline.calls == [(Path("spec.yaml"), {"device": "cpu", "overrides": ("a=1",)})]


def test_results_go_to_stdout_and_progress_to_stderr(pipeline):
    result = call("run", "spec.yaml")
    assert result.stdout.startswith("# ptaudit digits-lenet\n")
    assert "epoch 1" not in result.stdout
    assert "epoch 1: loss 0.5\n" in result.stderr


def test_quiet_has_no_progress_and_one_line(pipeline):
    result = call("run", "spec.yaml", "-q")
    assert result.stdout == f"PASS: 1 gate held{LIMITED}\n"
    assert result.stderr == ""


def test_quiet_with_a_format_still_prints_it(pipeline):
    assert json.loads(call("run", "spec.yaml", "-q", "--format", "json").stdout)["name"] == "digits-lenet"


@pytest.mark.parametrize("name", FORMATS)
def test_output_writes_any_format_as_stdout_would_show_it(pipeline, tmp_path, name):
    target = tmp_path / "new" / "report"
    assert call("run", "spec.yaml", "--output", f"{name}={target}").exit_code == 0
    shown = call("run", "spec.yaml", "--format", name, env={"NO_COLOR": "1", "COLUMNS": "100"}).stdout
    assert target.read_text(encoding="utf-8") == shown
    assert [path.name for path in target.parent.iterdir()] == ["report"]


def test_output_that_cannot_be_written_is_found_before_anything_runs(pipeline, tmp_path):
    (tmp_path / "file").write_text("")
    for path, said in ((tmp_path / "file" / "report.md", "its folder is a file"), (tmp_path, "this is a folder")):
        result = call("run", "spec.yaml", "--output", f"md={path}")
        assert (result.exit_code, result.stdout) == (2, "")
        assert f"error: {path}: --output" in result.stderr
        assert said in result.stderr
    assert pipeline.calls == []


@pytest.mark.parametrize(("outcome", "code"), [("fail", 1), ("pass", 2)])
def test_output_that_fails_in_the_end_hides_no_failed_gate(pipeline, tmp_path, monkeypatch, outcome, code):
    verdict = replace(pipeline.result.run.verdicts[0], outcome=outcome)
    pipeline.result = replace(pipeline.result, run=replace(pipeline.result.run, verdicts=(verdict,)))
    pipeline.result.exit_code = {"fail": 1, "pass": 0}[outcome]

    def full(*_):
        raise RunFolderError("cannot be written: no space left", where="report.md")

    monkeypatch.setattr("ptaudit.files.write_whole", full)
    result = call("run", "spec.yaml", "--output", f"md={tmp_path}/report.md")
    assert result.exit_code == code
    assert "error: report.md: cannot be written: no space left" in result.stderr
    assert ("gate batch-leak FAILED" in result.stderr) == (outcome == "fail")


def test_output_writes_through_links_and_to_devices_and_keeps_modes(pipeline, tmp_path):
    kept, link, pipe = tmp_path / "kept.md", tmp_path / "link.md", tmp_path / "pipe"
    kept.write_text("old")
    kept.chmod(0o640)
    link.symlink_to(kept)
    os.mkfifo(pipe)
    with ThreadPoolExecutor(1) as pool:
        read = pool.submit(pipe.read_text)
        assert call("run", "spec.yaml", "--output", f"md={link}", "--output", f"md={pipe}").exit_code == 0
        assert read.result(10).startswith("# ptaudit")
    assert link.is_symlink()
    assert stat.S_ISFIFO(pipe.stat().st_mode)
    assert kept.read_text().startswith("# ptaudit")
    assert stat.S_IMODE(kept.stat().st_mode) == 0o640
    assert call("run", "spec.yaml", "--output", "md=/dev/null").exit_code == 0
    assert stat.S_ISCHR(Path("/dev/null").stat().st_mode)


def test_output_overwrites_neither_the_spec_nor_the_tables_of_a_run(pipeline, run_folder, tmp_path):
    before = digests(run_folder)
    spec = tmp_path / "spec.yaml"
    spec.write_text("name: mine")
    (tmp_path / "other.md").symlink_to(run_folder / "leakage.csv")
    for words in (
        ("run", spec, "--output", f"md={spec}"),
        ("run", spec, "--out", run_folder, "--output", f"json={run_folder}/summary.json"),
        ("gate", run_folder, "--output", f"json={run_folder}/gates.json"),
        ("gate", run_folder, "--output", f"md={tmp_path}/other.md"),
    ):
        result = call(*words)
        assert (result.exit_code, result.stdout) == (2, ""), words
        assert "--output would overwrite it" in result.stderr
    assert pipeline.calls == []
    assert (digests(run_folder), spec.read_text()) == (before, "name: mine")


def test_init_does_not_write_through_a_link_that_leads_nowhere(tmp_path):
    (tmp_path / "model.py").symlink_to(tmp_path / "elsewhere.py")
    result = call("init", tmp_path)
    assert result.exit_code == 2
    assert "this file is there already" in result.stderr
    assert not (tmp_path / "elsewhere.py").exists()
    assert not (tmp_path / "spec.yaml").exists()


def test_show_of_a_written_run_equals_its_render(run_folder):
    from ptaudit.report import Page, open_format
    from ptaudit.tables.folder import read_run

    shown = call("show", run_folder, "--format", "md").stdout
    assert shown == open_format("md").render(read_run(run_folder), Page(folder=str(run_folder)))
    assert json.loads(call("show", run_folder, "--format", "json").stdout)["rows"]


def test_an_unknown_format_lists_the_known(run_folder):
    result = call("show", run_folder, "--format", "pdf")
    assert (
        result.stderr
        == "error: unknown format 'pdf' (known formats: rich, plain, md, html, json, csv, junit, sarif, github)\n"
    )


@pytest.mark.parametrize(
    ("environment", "coloured"),
    [({}, True), ({"NO_COLOR": "1"}, False), ({"NO_COLOR": ""}, True), ({"TERM": "dumb"}, False)],
)
def test_rich_is_plain_unless_forced_and_no_color_is_respected(run_folder, environment, coloured):
    environment = {"NO_COLOR": None, "TERM": "xterm", **environment}
    assert "\x1b" not in call("show", run_folder, env=environment).stdout
    assert ("\x1b" in call("show", run_folder, "--format", "rich", env=environment).stdout) == coloured


def test_a_stdout_without_unicode_gets_ascii(run_folder):
    result = CliRunner(charset="ascii").invoke(
        app, ["show", str(run_folder), "--format", "rich"], env={"NO_COLOR": "1"}
    )
    assert result.exit_code == 0
    assert result.stdout_bytes.isascii()


def test_gate_takes_gates_of_the_run_and_leaves_its_folder_alone(run_folder, tmp_path):
    before = digests(run_folder)
    result = call("gate", run_folder, "--output", f"junit={tmp_path}/gates.xml", "--format", "json")
    assert [gate["id"] for gate in json.loads(result.stdout)["gates"]] == ["batch-leak"]
    assert digests(run_folder) == before
    cases = ElementTree.parse(tmp_path / "gates.xml").iter("testcase")
    assert [case.get("name") for case in cases] == ["batch-leak"]


def test_gate_takes_gates_of_another_spec(run_folder, tmp_path):
    assert call("init", tmp_path / "first").exit_code == 0
    spec = tmp_path / "first" / "spec.yaml"
    text = spec.read_text().split("\ngates:")[0]
    assert "batch-32" in text
    spec.write_text(text + "\ngates:\n- {id: other, metric: identity.bits, view: batch-32, over: joint, max: 7}\n")
    result = call("gate", run_folder, "--spec", spec, "-q")
    assert (result.exit_code, result.stdout) == (0, f"PASS: 1 gate held{LIMITED}\n"), result.stderr


def test_gate_with_a_baseline_decides_on_the_increase(run_folder, tmp_path):
    gate = "gates: [{id: g, metric: identity.bits, view: batch-32, over: joint, max_increase: %s, same_weights: true}]"
    worse = tmp_path / "worse"
    for limit, code in ((0.1, 1), (5, 0)):
        write_run(replace(example_run(name="worse", scale=1.6), spec_text=gate % limit), worse)
        assert call("gate", worse, "--baseline", run_folder).exit_code == code


def test_compare_lists_rows_within_noise_only_when_asked(run_folder):
    same = call("compare", run_folder, run_folder)
    assert "within noise" in same.stdout
    assert not [line for line in same.stdout.splitlines() if line.startswith("change")]
    every = call("compare", run_folder, run_folder, "--all")
    assert len([line for line in every.stdout.splitlines() if line.startswith("change")]) > 100


def test_init_writes_a_spec_that_loads_and_never_overwrites(tmp_path):
    from ptaudit.spec.load import load

    result = call("init", tmp_path / "new")
    assert result.exit_code == 0
    spec = tmp_path / "new" / "spec.yaml"
    assert f"next: ptaudit check {spec} && ptaudit run {spec}\n" in result.stdout
    load(spec)
    before = digests(tmp_path)
    again = call("init", tmp_path / "new")
    assert again.exit_code == 2
    assert "there already" in again.stderr
    assert digests(tmp_path) == before


def test_schema_is_the_json_schema_of_the_spec():
    from ptaudit.spec.model import json_schema

    assert json.loads(call("schema").stdout) == json.loads(json.dumps(json_schema()))


@pytest.mark.parametrize("verb", ["run", "check"])
def test_help_warns_that_a_spec_runs_code(verb):
    assert "runs the Python that it names" in " ".join(call(verb, "--help").stdout.split())
    assert "runs the Python that it names" in " ".join(call("--help").stdout.split())


def test_version(monkeypatch):
    monkeypatch.setattr("importlib.metadata.version", lambda name: {"ptaudit": "9.8.7"}[name])
    assert call("--version").stdout == "ptaudit 9.8.7\n"


def test_a_reader_that_goes_away_does_not_change_the_exit_code(run_folder):
    import subprocess

    words = ["ptaudit", "show", str(run_folder), "--format", "json"]
    code = f"import sys; from ptaudit.cli import main; sys.argv = {words!r}; main()"
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    process.stdout.close()
    assert process.stderr.read() == b""
    assert process.wait(timeout=600) == 0


def test_names_from_data_do_not_steer_the_terminal(pipeline):
    pipeline.error = RunFolderError("layer \x1b]0;title\x07\x1b[2J broke", where="run\u202efolder")
    result = call("run", "spec.yaml")
    assert result.exit_code == 2
    assert not any(character in result.stderr for character in "\x1b\x07\u202e")
    assert r"layer \x1b]0;title\x07\x1b[2J broke" in result.stderr


def test_a_spec_in_a_run_folder_that_multiplies_without_end_is_refused(run_folder):
    bomb = "a: &a [x, x, x, x, x, x, x, x, x]\n"
    bomb += "".join(f"{b}: &{b} [{', '.join([f'*{a}'] * 9)}]\n" for a, b in zip("abcdefgh", "bcdefghi", strict=True))
    write_run(replace(example_run(), spec_text=bomb), run_folder)
    result = call("gate", run_folder)
    assert result.exit_code == 2
    assert "more than 20,000 values" in result.stderr
