"""Progress on stderr: live bars on a terminal; elsewhere a plain line per finished task, and for what takes long."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Self

from ptaudit.cli.streams import say
from ptaudit.escape import terminal
from ptaudit.progress import Progress, Silent, Task

if TYPE_CHECKING:
    from rich.progress import Progress as Bars
    from rich.progress import TaskID


_WIDE = 110

QUIET_SECONDS = 25.0
"""Longest silence of a log: a line is then on its way within half a minute."""


@contextmanager
def open_progress(quiet: bool = False) -> Iterator[Progress]:
    """The progress that suits stderr, for the time of the block."""
    if quiet:
        yield Silent()
    elif sys.stderr.isatty() and _can_move_cursor():
        with RichProgress() as progress:
            yield progress
    else:
        with LogLines() as progress:
            yield progress


def _can_move_cursor() -> bool:
    import os

    return os.environ.get("TERM") != "dumb"


class LogLines:
    """Plain lines without control characters: for logs of CI servers. In a `with` block no silence is long.

    Args:
        quiet_seconds: after which it says what is under way.
    """

    def __init__(self, quiet_seconds: float = QUIET_SECONDS) -> None:
        self._quiet_seconds = quiet_seconds
        self._began = self._said = time.monotonic()
        self._running: list[_LineTask] = []
        self._ended = threading.Event()
        self._clock = threading.Thread(target=self._tick, daemon=True)

    def task(self, description: str, total: int | None = None) -> Task:
        """A task that says when it is done, and how long it took."""
        return _LineTask(self, self._running, description, total)

    def log(self, message: str) -> None:
        """One line."""
        self._said = time.monotonic()
        say(message)

    def __enter__(self) -> Self:
        self._clock.start()
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        self._ended.set()
        self._clock.join()

    def _tick(self) -> None:
        while not self._ended.wait(max(0.01, self._said + self._quiet_seconds - time.monotonic())):
            if time.monotonic() - self._said >= self._quiet_seconds:
                running = tuple(self._running)
                self.log(running[-1].state if running else f"preparing: {time.monotonic() - self._began:.0f} s so far")


class _LineTask:
    def __init__(self, lines: LogLines, running: list[_LineTask], description: str, total: int | None) -> None:
        self._lines, self._running = lines, running
        self._description, self._total = description, total
        self._steps, self._note, self._began = 0, "", time.monotonic()

    @property
    def state(self) -> str:
        """How far it is, in one line."""
        of = "" if self._total is None else f"/{self._total}"
        return f"{self._description}: {self._steps}{of} after {self._seconds:.0f} s{self._told}"

    def advance(self, steps: int = 1, note: str | None = None) -> None:
        self._steps += steps
        self._note = self._note if note is None else note

    def __enter__(self) -> Self:
        self._began = time.monotonic()
        self._running.append(self)
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        self._running.remove(self)
        word = "done" if kind is None else "stopped"
        self._lines.log(f"{self._description}: {word} after {self._seconds:.1f} s{self._told}")

    @property
    def _seconds(self) -> float:
        return time.monotonic() - self._began

    @property
    def _told(self) -> str:
        return f" ({self._note})" if self._note else ""


class RichProgress:
    """Live bars on stderr; logged lines scroll by above them."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
        from rich.table import Column

        # The worst layers can be long: their line is cut where the terminal ends, the bar stays whole.
        note = Column(no_wrap=True, overflow="ellipsis", ratio=1)
        console = Console(stderr=True, highlight=False)
        self._bars = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=28 if console.width >= _WIDE else 12),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.fields[note]}", style="dim", markup=False, table_column=note),
            console=console,
            transient=True,
            expand=True,
        )

    def task(self, description: str, total: int | None = None) -> Task:
        """A bar that is there while the task runs."""
        return _BarTask(self._bars, self._bars.add_task(terminal(description), total=total, note=""))

    def log(self, message: str) -> None:
        """One line above the bars."""
        self._bars.console.print(terminal(message), markup=False, emoji=False, soft_wrap=True)

    def __enter__(self) -> Self:
        self._bars.start()
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        self._bars.stop()


class _BarTask:
    def __init__(self, bars: Bars, task: TaskID) -> None:
        self._bars, self._task = bars, task

    def advance(self, steps: int = 1, note: str | None = None) -> None:
        self._bars.advance(self._task, steps)
        if note is not None:
            self._bars.update(self._task, note=terminal(note))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        self._bars.remove_task(self._task)
