"""The run folder while a run is under way: taken once, resumable, never overwritten by accident."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ptaudit.errors import RunFolderError
from ptaudit.tables.folder import LEAKAGE, RESUME

_LOCK = "lock"


def is_whole(folder: Path) -> bool:
    """Whether a finished run lies there."""
    return (folder / LEAKAGE).is_file()


def prepare(folder: Path, *, fresh: bool, resume: bool) -> None:
    """Make way for a run.

    Raises:
        RunFolderError: something lies there already and neither flag says what to do, or it is no run folder.
    """
    started = (folder / RESUME).is_dir()
    if folder.exists() and not folder.is_dir():
        raise RunFolderError("is no folder", where=str(folder), remedy="choose another with --out")
    if fresh and folder.exists():
        if any(folder.iterdir()) and not (started or is_whole(folder)):
            raise RunFolderError("is not a run folder, so it is not replaced", where=str(folder), remedy="choose another with --out")
        with _taken(folder):
            pass  # refuses while another run works in it
        shutil.rmtree(folder)
    elif folder.exists() and any(folder.iterdir()) and not resume:
        state = "holds a run" if is_whole(folder) else "holds an unfinished run" if started else "is not empty"
        remedy = "--resume to go on, --fresh to replace it" if started else "--fresh to replace it, or another --out"
        raise RunFolderError(state, where=str(folder), remedy=remedy)


@contextmanager
def working(folder: Path) -> Iterator[Path]:
    """The place for what a resumed run needs; removed when the block ends well."""
    state = folder / RESUME
    try:
        state.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunFolderError(f"cannot be written: {error.strerror}", where=str(folder), remedy="choose another with --out") from error
    with _taken(folder):
        yield state
    shutil.rmtree(state)


@contextmanager
def _taken(folder: Path) -> Iterator[None]:
    """Holds the folder for this process; a lock left by a process that is gone counts for nothing."""
    lock = folder / RESUME / _LOCK
    if not lock.parent.is_dir():
        yield
        return
    owner = _owner(lock)
    if owner is not None:
        raise RunFolderError(f"another run is under way here (process {owner})", where=str(folder), remedy="wait for it, or choose another with --out")
    lock.write_text(str(os.getpid()), encoding="utf-8")
    try:
        yield
    finally:
        lock.unlink(missing_ok=True)


def _owner(lock: Path) -> int | None:
    try:
        pid = int(lock.read_text(encoding="utf-8"))
        os.kill(pid, 0)
    except (OSError, ValueError):
        return None
    return pid if pid != os.getpid() else None
