"""The one exception that ptaudit shows to its user as a single line."""

from __future__ import annotations

from collections.abc import Sequence


class PtauditError(Exception):
    """Something the user can mend: what was wrong, where, and what to do.

    The command line prints it as one line and ends with `exit_code`; no traceback unless `-v` is given.

    Args:
        what: what was wrong, in words.
        where: file, `file:line`, layer path or spec key it was found at.
        remedy: what to do about it.
    """

    exit_code = 2

    def __init__(self, what: str, *, where: str | None = None, remedy: str | None = None) -> None:
        self.what = what
        self.where = where
        self.remedy = remedy
        super().__init__(str(self))

    @property
    def lines(self) -> tuple[str, ...]:
        """What the command line shows, each as one line."""
        return (str(self),)

    def __str__(self) -> str:
        text = f"{self.where}: {self.what}" if self.where else self.what
        return f"{text} ({self.remedy})" if self.remedy else text


class SpecError(PtauditError):
    """The spec (or an override of it) is wrong."""


class JointSpecError(SpecError):
    """A spec is wrong in several places, a line for each."""

    def __init__(self, lines: Sequence[str]) -> None:
        self._lines = tuple(lines)
        super().__init__("\n".join(lines))

    @property
    def lines(self) -> tuple[str, ...]:
        """Each of them."""
        return self._lines


class DataError(PtauditError):
    """Data are missing, malformed or too few."""


class ModelError(PtauditError):
    """The model cannot be built, trained or read."""


class RunFolderError(PtauditError):
    """A run folder is missing, unfinished, occupied or damaged."""


class ClusterError(PtauditError):
    """A cluster cannot be used, or a machine of it failed: what is finished elsewhere is kept, to be resumed."""


class TrainingDivergedError(PtauditError):
    """The training loss became NaN or infinite; epochs before that are kept."""


def listed(names: Sequence[str], most: int) -> str:
    """The first of some names, and how many more there are: `a, b and 3 more`."""
    shown = ", ".join(names[:most])
    return f"{shown} and {len(names) - most} more" if len(names) > most else shown


def first_line(error: Exception) -> str:
    """An error's own text without what follows its first line."""
    return str(error).strip().split("\n", 1)[0]


def in_one_line(error: Exception) -> str:
    """An error's kind and the first line of its text, at most 160 characters of it."""
    text = first_line(error)
    return f"{type(error).__name__}: {text[:160]}" if text else type(error).__name__
