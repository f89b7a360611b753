"""The run folder while a run is under way: taken once, resumable, never overwritten by accident."""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from ptaudit.errors import PtauditError, RunFolderError
from ptaudit.tables.folder import LEAKAGE, RESUME

_LOCK = "lock"


def is_whole(folder: Path) -> bool:
    """Whether a finished run lies there."""
    return (folder / LEAKAGE).is_file()


def check(folder: Path, *, fresh: bool, resume: bool) -> None:
    """Find out whether a run may use the folder; nothing is changed yet.

    Raises:
        RunFolderError: something lies there already and neither flag says what to do, or it is no run folder.
    """
    started = (folder / RESUME).is_dir()
    if folder.exists() and not folder.is_dir():
        raise RunFolderError("is no folder", where=str(folder), remedy="choose another with --out")
    if not folder.exists() or not any(folder.iterdir()):
        return
    if not (started or is_whole(folder)):
        verb = "replaced" if fresh else "used"
        raise RunFolderError(
            f"is not a run folder, so it is not {verb}", where=str(folder), remedy="choose another with --out"
        )
    if not (fresh or resume):
        state = "holds a run" if is_whole(folder) else "holds an unfinished run"
        remedy = (
            "--fresh to replace it, or another --out"
            if is_whole(folder)
            else "--resume to go on, --fresh to replace it"
        )
        raise RunFolderError(state, where=str(folder), remedy=remedy)


@contextmanager
def working(folder: Path, *, fresh: bool) -> Iterator[Path]:
    """The place for what a resumed run needs; removed when the block ends well.

    It stays where a run was interrupted. What the user must mend first cannot be resumed, so nothing is left of it.
    """
    state = folder / RESUME
    try:
        state.mkdir(parents=True, exist_ok=True)
        lock = (state / _LOCK).open("a+", encoding="utf-8")
    except OSError as error:
        raise RunFolderError(
            f"cannot be written: {error.strerror}", where=str(folder), remedy="choose another with --out"
        ) from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)  # let go by the system however this process ends
        except OSError as error:
            raise _occupied(folder, state / _LOCK) from error
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        if fresh:
            _empty(folder, state / _LOCK)
        try:
            yield state
        except RunFolderError:
            raise
        except PtauditError:
            _leave(folder, state)
            raise
        shutil.rmtree(state)


def _occupied(folder: Path, lock: Path) -> RunFolderError:
    return RunFolderError(
        f"another run is under way here (process {lock.read_text(encoding='utf-8')})",
        where=str(folder),
        remedy="wait for it, or choose another with --out",
    )


def _empty(folder: Path, lock: Path) -> None:
    """Remove all but the lock, the table first: what is left of a whole run no longer looks like one."""
    (folder / LEAKAGE).unlink(missing_ok=True)
    for path in [*folder.iterdir(), *lock.parent.iterdir()]:
        if path in (lock, lock.parent):
            continue
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()


def _leave(folder: Path, state: Path) -> None:
    shutil.rmtree(state)
    with suppress(OSError):
        folder.rmdir()  # stays where it holds anything else
