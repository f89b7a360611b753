"""How a verb ends: errors become one line on stderr and an exit code, never a traceback unless `-v` asks for it."""

from __future__ import annotations

import functools
import math
import signal
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import Any, NoReturn

import typer
from typer.core import TyperCommand, TyperGroup

from ptaudit.cli.streams import refused, say
from ptaudit.errors import PtauditError
from ptaudit.escape import terminal

INTERNAL = 2
INTERRUPTED = 130


_PATIENCE = 2.0
"""Seconds in which a further Ctrl-C is the same wish: it must not cut short how the first one ends the verb."""


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
                _end([f"interrupted{advice}"], INTERRUPTED, verbose)
            except PtauditError as error:
                first, *others = error.lines
                _end([f"error: {first}", *others], error.exit_code, verbose)
            except SystemExit as error:  # no code of ours: it would pass for success
                said = f"Python that the spec names ended the process (sys.exit {error.code})"
                _end([f"error: {said}"], INTERNAL, verbose)
            except Exception as error:
                if interrupted():  # C code may turn Ctrl-C into an error of its own
                    _end(["interrupted"], INTERRUPTED, verbose)
                again = "" if verbose else " (re-run with -v for the traceback)"
                _end([f"{_unforeseen(error)}{again}"], INTERNAL, verbose)

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


class Verb(TyperCommand):
    """A verb; what the command line itself says repeats what was typed, and is as plain as all else."""

    def make_context(self, *args: Any, **options: Any) -> Any:  # noqa: D102
        with _plainly():
            return super().make_context(*args, **options)


class Commands(TyperGroup):
    """The verbs, as plain."""

    def make_context(self, *args: Any, **options: Any) -> Any:  # noqa: D102
        with _plainly():
            return super().make_context(*args, **options)

    def resolve_command(self, *args: Any) -> Any:  # noqa: D102
        with _plainly():
            return super().resolve_command(*args)


@contextmanager
def _plainly() -> Iterator[None]:
    try:
        yield
    except OSError as error:  # of help and version: verbs are guarded themselves
        try:
            refused(error)
        except PtauditError as problem:
            say(f"error: {problem}")
            raise typer.Exit(problem.exit_code) from error
        raise typer.Exit from error
    except Exception as error:
        if isinstance(said := getattr(error, "message", None), str):
            error.message = terminal(said)  # type: ignore[attr-defined]
        raise


def _unforeseen(error: Exception) -> str:
    """An error that nothing on the way has put into words: a file that cannot be read, memory that ends, or a fault."""
    said = " ".join(str(error).split())
    if isinstance(error, OSError) and error.filename is not None:
        return f"error: {error.filename}: {error.strerror}"
    if isinstance(error, MemoryError):
        return f"error: out of memory{': ' if said else ''}{said}"
    name = f"{type(error).__name__}{': ' if said else ''}{said}"
    place = _users_line(error)
    return f"internal error: {name}" if place is None else f"error: {place}: this code raised {name}"


def _users_line(error: BaseException) -> str | None:
    """`file:line` in a file of the spec that raised an error, or called the library that did; None if ptaudit did."""
    from ptaudit.spec.entry import ENTRY_MODULES

    for frame, line in reversed(list(traceback.walk_tb(error.__traceback__))):
        module = str(frame.f_globals.get("__name__", ""))
        if module.partition(".")[0] == "ptaudit":
            return None
        if module.startswith(ENTRY_MODULES):
            return f"{frame.f_code.co_filename}:{line}"
    return None


def _end(lines: Sequence[str], code: int, verbose: bool) -> NoReturn:
    trace = traceback.format_exc().splitlines() if verbose else []
    for line in [*trace, *lines]:
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
