"""The two streams of a verb: results on stdout, all else on stderr, as plain text, whatever they lead to."""

from __future__ import annotations

import os
import sys
from contextlib import redirect_stdout, suppress
from pathlib import Path
from typing import TextIO

from ptaudit.errors import PtauditError
from ptaudit.escape import terminal


def open_closed() -> None:
    """Lead streams that whoever started the process has closed nowhere: their numbers must not go to other files."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, Path(os.devnull).open("w", encoding="utf-8"))  # noqa: SIM115


def takes_unicode(stream: TextIO) -> bool:
    """Whether a stream can show more than ASCII."""
    return (stream.encoding or "").lower().replace("-", "") == "utf8"


def prints_on_stderr() -> redirect_stdout[TextIO]:
    """A context in which what the spec's code prints goes to stderr: stdout is for results, which machines read."""
    return redirect_stdout(sys.stderr)


def emit(text: str) -> None:
    """Write to stdout; a reader that went away (`| head`) does not change how the verb ends.

    Raises:
        PtauditError: the disk behind it is full or the like.
    """
    from ptaudit.report.words import to_ascii

    try:
        sys.stdout.write(text if takes_unicode(sys.stdout) else to_ascii(text))
        sys.stdout.flush()
    except OSError as error:
        refused(error)


def refused(error: OSError) -> None:
    """Give stdout up, so that what is left in it does not fail again when the process ends.

    Raises:
        PtauditError: for any other reason than a reader that went away.
    """
    _discard(sys.stdout)
    if not isinstance(error, BrokenPipeError):
        raise PtauditError(f"cannot be written: {error.strerror or error}", where="stdout") from error


def say(text: str) -> None:
    """One line on stderr; nobody can be told where that fails."""
    try:
        sys.stderr.write(f"{terminal(text)}\n")
        sys.stderr.flush()
    except OSError:
        _discard(sys.stderr)


def _discard(stream: TextIO) -> None:
    with suppress(OSError, ValueError):  # a stream of a test has no number
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)
