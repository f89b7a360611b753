"""Streams that are full, closed or poor in letters, and names that would do something on them."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from dataclasses import replace
from xml.etree import ElementTree

import pytest
from example_run import VERDICTS, example_run
from typer.testing import CliRunner

from ptaudit.cli import app
from ptaudit.errors import JointSpecError
from ptaudit.report import FORMATS
from ptaudit.tables.folder import write_run
from ptaudit.tables.table import Table

NAMES = (
    "\x1b]0;title\x07\x1b[2J",
    "\x9b31m\u202ecba\u2066",
    "a\nerror: b\r\n| c |",
    "[l](http://x.y) ![i](//x) <img src=x> @user #12",
    "=cmd|'/C calc'!A0",
    "[bold red]x[/] :tada: `c`",
)
STEERS = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2066-\u2069]")


@pytest.fixture
def hostile(tmp_path):
    """A run folder in which layers, gates and warnings are called so."""
    run = example_run()
    known = {layer.name: name for layer, name in zip(run.layers, NAMES, strict=True)}
    rows = Table.of([replace(row, layer=known.get(row.layer, row.layer)) for row in run.rows])
    layers = tuple(replace(layer, name=known[layer.name], reason=NAMES[2]) for layer in run.layers)
    gates = tuple(replace(v, id=f"{v.id} {NAMES[0]}", worst_layer=NAMES[3], advice=NAMES[2]) for v in VERDICTS)
    manifest = {**run.manifest, "warnings": list(NAMES), "device": NAMES[1]}
    write_run(replace(run, rows=rows, layers=layers, verdicts=gates, manifest=manifest), tmp_path / "run")
    return tmp_path / "run"


@pytest.mark.parametrize("name", FORMATS)
def test_names_are_plain_text_in_every_format(hostile, name):
    result = CliRunner().invoke(app, ["show", str(hostile), "--format", name], env={"NO_COLOR": "1"})
    assert result.exit_code == 0
    assert not STEERS.search(result.stdout)
    if name == "json":
        assert [layer["name"] for layer in json.loads(result.stdout)["layers"]] == list(NAMES)
    if name == "junit":
        assert len(ElementTree.fromstring(result.stdout.encode()).findall(".//testcase")) == len(VERDICTS)
    if name == "md":
        links = re.findall(r"(?<!\\)\]\((\S+?)\)", result.stdout)
        assert all(re.fullmatch(r"[\w.]+", link) for link in links), links  # the run's own files
        assert not re.search(r"(?<!\\)<(?!!-- -->)[A-Za-z/!?]|@\w|#\d", result.stdout)


def test_errors_of_gates_are_a_line_each(hostile):
    result = CliRunner().invoke(app, ["gate", str(hostile)])
    assert not STEERS.search(result.stderr)
    assert not re.search("^error: b", result.stderr, re.MULTILINE)


@pytest.mark.parametrize("verb", ["check", "run"])
def test_what_the_code_of_a_spec_prints_is_no_result(pipeline, monkeypatch, verb):
    monkeypatch.setattr(pipeline, "_maybe_fail", lambda: print("loading weights"))
    result = CliRunner().invoke(app, [verb, "spec.yaml", "--format", "json"])
    assert json.loads(result.stdout)
    assert "loading weights" in result.stderr


def test_several_errors_are_a_line_each(pipeline):
    pipeline.error = JointSpecError(["s.yaml:1: a\nerror: b", "s.yaml:2: c"])
    result = CliRunner().invoke(app, ["run", "spec.yaml"])
    assert result.stderr.splitlines()[-2:] == [r"error: s.yaml:1: a\nerror: b", "s.yaml:2: c"]


def test_usage_errors_repeat_what_was_typed_as_plain_text():
    for words in (["sh\x1b[2Jow"], ["show", "--\x1b[2J"], ["show", "a", "b\x07"]):
        result = CliRunner().invoke(app, words)
        assert result.exit_code == 2
        assert not STEERS.search(result.stderr)


def process(words, ends, **environment):
    """Exit code, stdout and stderr of the command in a shell, its streams led elsewhere."""
    code = f"import sys; from ptaudit.cli import main; sys.argv = {['ptaudit', *map(str, words)]!r}; main()"
    done = subprocess.run(
        ["bash", "-c", f'"$0" -c "$1" {ends}', sys.executable, code],
        capture_output=True, env={**os.environ, **environment}, timeout=600, check=False,
    )  # fmt: skip
    return done.returncode, done.stdout.decode(), done.stderr.decode()


@pytest.fixture
def failing(tmp_path):
    """A run folder whose gate fails."""
    run = example_run()
    write_run(replace(run, spec_text=run.spec_text.replace("max: 3.2", "max: 0.1")), tmp_path / "failing")
    return tmp_path / "failing"


FULL = "error: stdout: cannot be written: No space left on device\n"


@pytest.mark.parametrize("words", [["show", "RUN"], ["--help"], ["schema"]])
def test_a_full_disk_behind_stdout_is_an_error_of_one_line(run_folder, words):
    assert process([run_folder if word == "RUN" else word for word in words], ">/dev/full") == (2, "", FULL)


def test_a_full_disk_behind_stdout_never_hides_a_failed_gate(failing, tmp_path):
    output = tmp_path / "gates.xml"
    code, _, said = process(["gate", failing, "--output", f"junit={output}"], ">/dev/full")
    assert code == 1
    assert "FAILED" in said
    assert said.endswith(FULL)
    assert output.is_file()


@pytest.mark.parametrize("ends", [">&-", "2>&-", ">&- 2>&-", "2>/dev/full", "<&-"])
def test_streams_that_are_closed_or_take_nothing_do_not_change_the_exit_code(failing, ends):
    code, _, said = process(["gate", failing], ends)
    assert code == 1
    assert ("FAILED" in said) == ("2>" not in ends)


def test_a_usage_error_that_nobody_can_be_told_is_no_failed_gate():
    assert process(["show", "--nothing"], "2>/dev/full")[0] == 2


@pytest.mark.parametrize("name", ["md", "json", "plain"])
def test_a_terminal_of_ascii(hostile, name):
    environment = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "PYTHONIOENCODING": "ascii"}
    code, out, said = process(["show", hostile, "--format", name], "", **environment)
    assert (code, said) == (0, "")
    assert out.isascii()
    if name == "json":
        assert [layer["name"] for layer in json.loads(out)["layers"]] == list(NAMES)
