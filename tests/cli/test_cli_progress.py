from __future__ import annotations

import io
import re
import time
from contextlib import nullcontext

import pytest
from rich.console import Console
from typer.testing import CliRunner

from ptaudit.cli.check import parse_duration
from ptaudit.cli.progress import LogLines, RichProgress, open_progress
from ptaudit.errors import PtauditError
from ptaudit.progress import Silent


class Terminal(io.StringIO):
    """A stderr that says it is a terminal."""

    def isatty(self):
        return True


def work(progress):
    with progress.task("games", total=3) as task:
        progress.log("epoch [1]: loss 0.5")
        task.advance(3, note="identity")


def test_elsewhere_than_on_a_terminal_plain_lines(monkeypatch):
    stream = io.StringIO()
    monkeypatch.setattr("sys.stderr", stream)
    with open_progress() as progress:
        assert isinstance(progress, LogLines)
        work(progress)
    first, second = stream.getvalue().splitlines()
    assert first == "epoch [1]: loss 0.5"
    assert re.fullmatch(r"games: done after \d+\.\d s \(identity\)", second)


def test_no_silence_is_long(monkeypatch):
    """A step of a game may take minutes: what is under way is said all the same, and nothing where lines come often."""
    stream = io.StringIO()
    monkeypatch.setattr("sys.stderr", stream)
    with LogLines(quiet_seconds=0.2) as progress:
        time.sleep(0.5)
        with progress.task("training", total=8), progress.task("audit of epoch 0", total=4) as task:
            task.advance(2, note="identity on batch-32")
            time.sleep(0.5)
    lines = stream.getvalue().splitlines()
    assert re.fullmatch(r"preparing: \d s so far", lines[0])
    running = [
        line for line in lines if re.fullmatch(r"audit of epoch 0: 2/4 after \d s \(identity on batch-32\)", line)
    ]
    assert 1 <= len(running) <= 3
    assert len(lines) <= 2 * 3 + 2
    stream.truncate(0)
    time.sleep(0.5)
    assert not stream.getvalue()


def test_a_task_that_fails_is_not_called_done(monkeypatch):
    stream = io.StringIO()
    monkeypatch.setattr("sys.stderr", stream)
    with pytest.raises(ValueError, match="no"), open_progress() as progress, progress.task("games"):
        raise ValueError("no")
    assert stream.getvalue().startswith("games: stopped after")


def test_bars_on_a_terminal_keep_logged_lines_whole(monkeypatch):
    stream = Terminal()
    monkeypatch.setattr("sys.stderr", stream)
    monkeypatch.setenv("TERM", "xterm")
    with open_progress() as progress:
        assert isinstance(progress, RichProgress)
        work(progress)
    assert "epoch [1]: loss 0.5" in stream.getvalue()
    assert "games" in stream.getvalue()


def test_a_long_note_is_cut_and_the_bar_stays_on_one_line(monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    progress = RichProgress()
    progress.task("training", 100).advance(40, note="epoch 1/5; bits: * 4.2, " + "layer1.0.conv1 3.1, " * 5)
    console = Console(width=80, file=io.StringIO())
    console.print(progress._bars.get_renderable())
    (line,) = console.file.getvalue().splitlines()
    assert "40/100" in line
    assert "bits: * 4.2" in line
    assert line.rstrip().endswith("…")


@pytest.mark.parametrize("kind", [LogLines, RichProgress])
def test_names_in_progress_do_nothing(monkeypatch, kind):
    stream = Terminal()
    monkeypatch.setattr("sys.stderr", stream)
    progress, name = kind(), "\x1b]0;t\x07\nerror: [bold]x[/] :tada:"
    with progress if kind is RichProgress else nullcontext(), progress.task(name, total=2) as task:
        progress.log(name)
        task.advance(2, note=name)
        bar = "" if kind is LogLines else str(progress._bars.tasks[0])
    assert r"\x1b]0;t\x07\nerror: [bold]x[/] :tada:" in stream.getvalue()
    assert "\x07" not in stream.getvalue() + bar
    assert "\x1b]" not in stream.getvalue() + bar


@pytest.mark.parametrize(("quiet", "terminal", "kind"), [(True, "xterm", Silent), (False, "dumb", LogLines)])
def test_quiet_is_silent_and_a_dumb_terminal_gets_lines(monkeypatch, quiet, terminal, kind):
    monkeypatch.setattr("sys.stderr", Terminal())
    monkeypatch.setenv("TERM", terminal)
    with open_progress(quiet) as progress:
        assert isinstance(progress, kind)


def test_the_log_of_a_run_has_no_control_characters(pipeline):
    from ptaudit.cli import app

    result = CliRunner().invoke(app, ["run", "spec.yaml"])
    assert re.fullmatch(r"[ -~\n]+", result.stderr)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90", 90), ("90s", 90), ("5m", 300), ("1h", 3600), ("1h30m", 5400), ("0.5h", 1800), ("2M", 120)],
)
def test_durations(text, seconds):
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "soon", "-5m", "0", "0s", "5 m", "5d", "m", "nan", "1m1h"])
def test_what_is_no_duration_says_how_to_write_one(text):
    with pytest.raises(PtauditError, match=r"write e\.g\. 90s, 5m or 1h30m"):
        parse_duration(text)
