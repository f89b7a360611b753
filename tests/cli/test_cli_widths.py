"""A terminal of 80, 100 or 140 columns: no line is wider, so that nothing is broken inside a word or a number."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from dataclasses import replace

import pytest
from example_run import example_run, leaking_run

from ptaudit.report import Page, open_format
from ptaudit.tables.folder import write_run

ESCAPES = re.compile(r"\x1b\[[0-9;]*m")
NUMBER = re.compile(r"-?\d+\.\d+ \[-?\d+\.\d+, -?\d+\.\d+\]|\d+ %")
WIDTHS = (80, 100, 140)


def on_a_terminal(columns, *arguments):
    """What a terminal of so many columns gets from the command line."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 60, columns, 0, 0))
    environment = {**os.environ, "TERM": "xterm-256color", "PYTHONUTF8": "1"}
    environment = {name: value for name, value in environment.items() if name not in ("COLUMNS", "LINES", "NO_COLOR")}
    command = [sys.executable, "-m", "ptaudit", *arguments]
    with subprocess.Popen(command, stdout=theirs, stderr=theirs, stdin=theirs, env=environment) as process:
        os.close(theirs)
        chunks = []
        while True:
            try:
                chunk = os.read(ours, 65536)
            except OSError:  # the other side has closed it
                break
            if not chunk:
                break
            chunks.append(chunk)
    os.close(ours)
    assert process.returncode == 0
    return ESCAPES.sub("", b"".join(chunks).decode()).splitlines()


@pytest.mark.parametrize("columns", WIDTHS)
def test_a_real_terminal_breaks_nothing(tmp_path, columns):
    write_run(example_run(), tmp_path / "r")
    lines = on_a_terminal(columns, "show", str(tmp_path / "r"))
    text = str(tmp_path)  # a path has no place to break
    assert max(len(line) for line in lines if text not in line) <= columns
    assert max(map(len, lines)) > columns - 20
    assert any("6.12 [5.84, 6.40]" in line for line in lines)


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("run", [example_run, leaking_run])
@pytest.mark.parametrize("name", ["short", "a.rather.long.path.of.modules.as.they.come"])
def test_no_line_is_wider_than_the_page(run, name, width):
    made = run()
    columns = dict(made.rows.columns)
    texts = tuple(name if text == "head.fc2" else text for text in columns["layer"].texts)
    columns["layer"] = replace(columns["layer"], texts=texts)
    text = open_format("rich").render(replace(made, rows=type(made.rows)(columns)), Page(width=width))
    assert max(map(len, text.splitlines())) <= width
    wide = open_format("rich").render(replace(made, rows=type(made.rows)(columns)), Page(width=400))
    numbers = {found for line in text.splitlines() for found in NUMBER.findall(line)}
    assert numbers <= {found for line in wide.splitlines() for found in NUMBER.findall(line)}
    assert not [line for line in text.splitlines() if re.search(r"\[-?[\d.]+,$|\d,$|<=$", line)]
