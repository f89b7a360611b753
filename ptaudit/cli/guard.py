"""How a verb ends: errors become one line on stderr and an exit code, never a traceback unless `-v` asks for it."""

from __future__ import annotations

import functools
import math
import signal
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, NoReturn

import typer

from ptaudit.cli.blame import users_line
from ptaudit.errors import PtauditError

INTERNAL = 2
INTERRUPTED = 130


_PATIENCE = 2.0
"""Seconds in which a further Ctrl-C is the same wish: it must not cut short how the first one ends the verb."""


def plain(text: str) -> str:
    """Lines in which names from data and code cannot steer the terminal."""
    from ptaudit.report.words import safe

    return "\n".join(map(safe, text.split("\n")))


def say(text: str) -> None:
    """Lines on stderr."""
    typer.echo(plain(text), err=True)


def guarded(verb: Callable[..., None]) -> Callable[..., None]:
    """The verb with its exceptions turned into a line on stderr and an exit code."""

    @functools.wraps(verb)
    def wrapper(*args: Any, **options: Any) -> None:
        verbose = bool(options.get("verbose"))
        with _interruptible() as interrupted:
            try:
                verb(*args, **options)
            except (typer.Exit, typer.Abort, typer.BadParameter):
                raise
            except KeyboardInterrupt as interrupt:
                advice = f": {interrupt}" if str(interrupt) else ""
                _end(f"interrupted{advice}", INTERRUPTED, verbose)
            except PtauditError as error:
                _end(f"error: {error}", error.exit_code, verbose)
            except SystemExit as error:  # no code of ours: it would pass for success
                _end(f"error: Python that the spec names ended the process (sys.exit {error.code})", INTERNAL, verbose)
            except Exception as error:
                if interrupted():  # C code may turn Ctrl-C into an error of its own
                    _end("interrupted", INTERRUPTED, verbose)
                said = " ".join(str(error).split())
                name = type(error).__name__ + (f": {said}" if said else "")
                again = "" if verbose else " (re-run with -v for the traceback)"
                place = users_line(error)
                said = f"internal error: {name}" if place is None else f"error: {place}: this code raised {name}"
                _end(f"{said}{again}", INTERNAL, verbose)

    return wrapper


@contextmanager
def leaving_when_told() -> Iterator[None]:
    """The process leaves at a Ctrl-C or SIGTERM without a traceback, also before a verb has begun (verbs do better).

    Once all is done, neither changes how the process ends.
    """

    def leave(number: int, frame: FrameType | None) -> None:
        raise SystemExit(INTERRUPTED)

    heard = _heard()
    for number in heard:
        signal.signal(number, leave)
    try:
        yield
    finally:
        for number in heard:
            signal.signal(number, signal.SIG_IGN)


def _end(line: str, code: int, verbose: bool) -> NoReturn:
    if verbose:
        typer.echo(traceback.format_exc(), err=True, nl=False)
    say(line)
    raise typer.Exit(code)


def _heard() -> list[signal.Signals]:
    """The signals that end a verb, without those that whoever started the process has it ignore."""
    return [s for s in (signal.SIGINT, signal.SIGTERM) if signal.getsignal(s) is not signal.SIG_IGN]


@contextmanager
def _interruptible() -> Iterator[Callable[[], bool]]:
    """SIGTERM ends a verb as Ctrl-C does, so that a run that CI cancels says how to resume it.

    Yields:
        Whether either came within the last moments.
    """
    last = -math.inf

    def interrupted() -> bool:
        return time.monotonic() - last < _PATIENCE

    def interrupt(number: int, frame: FrameType | None) -> None:
        nonlocal last
        if not interrupted():
            last = time.monotonic()
            raise KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread():
        yield interrupted
        return
    before = {number: signal.signal(number, interrupt) for number in _heard()}
    try:
        yield interrupted
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
