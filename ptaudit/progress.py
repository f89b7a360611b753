"""Progress as an interface: the audit reports what it does; the command line decides how to show it."""

from __future__ import annotations

from typing import Protocol, Self


class Task(Protocol):
    """One running piece of work; a context manager that ends it."""

    def advance(self, steps: int = 1, note: str | None = None) -> None:
        """Say that `steps` more are done; `note` replaces the text shown beside the bar."""

    def __enter__(self) -> Self: ...

    def __exit__(self, kind: object, error: object, trace: object) -> None: ...


class Progress(Protocol):
    """Where the audit reports to."""

    def task(self, description: str, total: int | None = None) -> Task:
        """Begin a piece of work of `total` steps (None: unknown)."""

    def log(self, message: str) -> None:
        """One line worth keeping, e.g. the loss of an epoch and its leakage."""


class _SilentTask:
    def advance(self, steps: int = 1, note: str | None = None) -> None:
        pass

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        pass


class Silent:
    """Reports nothing: the default of the Python face."""

    def task(self, description: str, total: int | None = None) -> Task:
        """A task that shows nothing."""
        return _SilentTask()

    def log(self, message: str) -> None:
        """Drop the line."""
