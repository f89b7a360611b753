"""A new format is one file and one line: registered from outside, it is listed, drawn and written like all others."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from example_run import EXAMPLE_CHECK, example_run
from typer.testing import CliRunner

from ptaudit.cli import app
from ptaudit.errors import PtauditError
from ptaudit.report import FORMATS, FormatEntry, open_format
from ptaudit.tables.folder import write_run

SOURCE = '''
from ptaudit.report.format import DocumentFormat

class Titles(DocumentFormat):
    """The title of a page and of its tables."""

    def draw(self, document, page=None):
        titles = [document.title, *(block.title for block in document.filled if getattr(block, "title", ""))]
        return "".join(f"{title}\\n" for title in titles)
'''
REGISTERED = """
import sys
from ptaudit.report import FORMATS, FormatEntry
FORMATS["titles"] = FormatEntry("titles_format:Titles")
from ptaudit.cli import main
sys.argv = ["ptaudit", *sys.argv[1:]]
main()
"""


@pytest.fixture
def titles(monkeypatch, tmp_path):
    (tmp_path / "titles_format.py").write_text(SOURCE)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setitem(FORMATS, "titles", FormatEntry("titles_format:Titles"))
    return tmp_path


@pytest.fixture
def folder(tmp_path):
    write_run(example_run(), tmp_path / "run")
    return tmp_path / "run"


def test_it_shows_runs_gates_and_checks(titles, folder):
    shown = CliRunner().invoke(app, ["show", str(folder), "--format", "titles"])
    assert (shown.exit_code, shown.stdout.splitlines()[0]) == (0, "ptaudit digits-lenet")
    assert shown.stdout == open_format("titles").render(example_run())
    assert open_format("titles").render(EXAMPLE_CHECK).splitlines()[:2] == [
        "ptaudit check digits-lenet",
        "Columns",
    ]


def test_it_is_written_to_files(titles, folder):
    spec, target = folder / "spec.resolved.yaml", titles / "gates.titles"
    spec.write_text("gates: [{id: g, metric: identity.bits, view: record, over: joint, epoch: last, max: 100}]\n")
    (folder / "manifest.json").unlink()  # the hashes of the folder as it was
    judged = CliRunner().invoke(app, ["gate", str(folder), "--output", f"titles={target}", "-q"])
    assert judged.exit_code == 0, judged.output
    assert target.read_text().splitlines() == ["ptaudit gates of run", "Gates"]


def test_errors_and_help_list_it(titles):
    with pytest.raises(PtauditError, match="rich, plain, md, html, json, csv, junit, sarif, github, titles"):
        open_format("pdf")
    with pytest.raises(PtauditError, match="use rich, plain, md, html, json, csv or titles"):
        open_format("junit").render(EXAMPLE_CHECK)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(titles), str(Path(__file__).parents[2])])}
    command = [sys.executable, "-c", REGISTERED, "show", "--help"]
    text = subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout
    assert "rich, plain, md, html, json, csv or titles." in " ".join(text.split())
