"""How a verb ends: errors become one line on stderr and an exit code, never a traceback unless `-v` asks for it."""

from __future__ import annotations

import functools
import signal
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

import typer

from ptaudit.errors import PtauditError

INTERNAL = 2
INTERRUPTED = 130


def guarded(verb: Callable[..., None]) -> Callable[..., None]:
    """The verb with its exceptions turned into a line on stderr and an exit code."""

    @functools.wraps(verb)
    def wrapper(*args: Any, **options: Any) -> None:
        verbose = bool(options.get("verbose"))
        try:
            with _terminable():
                verb(*args, **options)
        except (typer.Exit, typer.Abort, typer.BadParameter):
            raise
        except KeyboardInterrupt as interrupt:
            advice = f": {interrupt}" if str(interrupt) else ""
            _end(f"interrupted{advice}", INTERRUPTED, verbose)
        except PtauditError as error:
            _end(f"error: {error}", error.exit_code, verbose)
        except Exception as error:
            said = " ".join(str(error).split())
            name = type(error).__name__ + (f": {said}" if said else "")
            again = "" if verbose else " (re-run with -v for the traceback)"
            _end(f"internal error: {name}{again}", INTERNAL, verbose)

    return wrapper


def _end(line: str, code: int, verbose: bool) -> None:
    if verbose:
        typer.echo(traceback.format_exc(), err=True, nl=False)
    typer.echo(line, err=True)
    raise typer.Exit(code)


@contextmanager
def _terminable() -> Iterator[None]:
    """SIGTERM ends a verb as Ctrl-C does, so that a run that CI cancels says how to resume it."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
