"""The run folder while a run is under way: taken once, resumable, never overwritten by accident.

A run that was there before stays as it is, and readable, until the new one is whole: that one is made in a folder
inside, beside what a resumed run needs.
"""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from ptaudit.errors import ClusterError, PtauditError, RunFolderError
from ptaudit.tables.folder import LEAKAGE, RESUME

_LOCK, _BEGUN, _OUTPUT, _REPLACED = "lock", "begun", "output", "replaced"
_ELSEWHERE = "choose another with --out"
_REPLACE = "--fresh to replace it, or another --out"


def is_whole(folder: Path) -> bool:
    """Whether a finished run lies there."""
    return (folder / LEAKAGE).is_file()


def is_begun(folder: Path) -> bool:
    """Whether a run was begun there and has not ended, with or without a finished one beside it."""
    return (folder / RESUME / _BEGUN).is_file()


def check(folder: Path, *, fresh: bool, resume: bool) -> None:
    """Find out whether a run may use the folder; nothing is changed yet.

    Raises:
        RunFolderError: something lies there already and neither flag says what to do, or it is no run folder.
    """
    try:
        _check(folder, fresh=fresh, resume=resume)
    except OSError as error:
        raise RunFolderError(f"cannot be used: {error.strerror}", where=str(folder), remedy=_ELSEWHERE) from error


def _check(folder: Path, *, fresh: bool, resume: bool) -> None:
    started = (folder / RESUME).is_dir()
    if folder.exists() and not folder.is_dir():
        raise RunFolderError("is no folder", where=str(folder), remedy=_ELSEWHERE)
    if not folder.exists() or not any(folder.iterdir()):
        return
    if not (started or is_whole(folder)):
        verb = "replaced" if fresh else "used"
        raise RunFolderError(f"is not a run folder, so it is not {verb}", where=str(folder), remedy=_ELSEWHERE)
    if not (fresh or resume):
        state = "holds a run" if is_whole(folder) else "holds an unfinished run"
        remedy = _REPLACE if is_whole(folder) else "--resume to go on, --fresh to replace it"
        if is_whole(folder) and is_begun(folder):
            state = "holds a run, and the unfinished one that was to replace it"
            remedy = "--resume to go on with the unfinished one, --fresh to begin it again"
        raise RunFolderError(state, where=str(folder), remedy=remedy)


@dataclass(frozen=True)
class Workplace:
    """A run folder while one process works in it.

    Attributes:
        folder: the run folder.
        state: inside it, what a resumed run needs.
        lock: which file was locked, as device and inode: a folder that was removed and made anew has another.
        part: of several trainings, the folder of one inside the state.
    """

    folder: Path
    state: Path
    lock: tuple[int, int]
    part: str = ""

    @property
    def output(self) -> Path:
        """Where the files of the run are written before they are published."""
        return self.state / _OUTPUT

    def of_seed(self, seed: int) -> Path:
        """Where a training of one seed keeps what it found."""
        return self.state / self.part / f"seed-{seed}"

    def publish(self) -> None:
        """Put what was written to `output` in the place of all that the folder held.

        Raises:
            RunFolderError: it was removed or replaced meanwhile, or cannot be written.
        """
        self.confirm()
        with _writing(self.folder):
            replaced = self.state / _REPLACED
            replaced.mkdir()
            # The table goes first and comes last: what is half replaced does not look like a whole run.
            for path in sorted(self.folder.iterdir(), key=lambda path: path.name != LEAKAGE):
                if path != self.state:
                    path.rename(replaced / path.name)
            for path in sorted(self.output.iterdir(), key=lambda path: path.name == LEAKAGE):
                path.rename(self.folder / path.name)
            (self.state / _BEGUN).unlink()

    def confirm(self) -> None:
        """Find the folder as it was taken.

        Raises:
            RunFolderError: it was removed, or replaced by another run.
        """
        if _identity(self.state / _LOCK) != self.lock:
            raise RunFolderError(
                "was removed or replaced while this run was under way",
                where=str(self.folder),
                remedy="run it again, and leave the folder alone until it has ended",
            )


@contextmanager
def working(folder: Path, *, fresh: bool) -> Iterator[Workplace]:
    """The place for what a resumed run needs; removed when the block ends well.

    A run that was there before stays until `Workplace.publish`.

    The place stays where a run was interrupted, could not be written, or its cluster failed. What the user must mend
    first in the spec, the model or the data cannot be resumed, so nothing is left of it.

    Raises:
        RunFolderError: another run is under way here, or nothing can be written.
    """
    state = folder / RESUME
    with _locked(folder, state / _LOCK) as lock:
        place = Workplace(folder, state, (os.fstat(lock).st_dev, os.fstat(lock).st_ino))
        place.confirm()
        if not fresh and is_whole(folder) and not is_begun(folder):
            raise RunFolderError("another run has just ended here", where=str(folder), remedy=_REPLACE)
        with _writing(folder):
            resumed = (_OUTPUT, _REPLACED) if is_begun(folder) else (_OUTPUT, _REPLACED, _BEGUN)
            _empty(state, None if fresh else resumed)
            (state / _BEGUN).touch()
        try:
            yield place
            place.confirm()
        except RunFolderError as error:
            place.confirm()  # a folder that is gone explains the error
            if error.remedy is not None:
                raise
            raise RunFolderError(error.what, where=error.where, remedy="mend that, then go on with --resume") from error
        except ClusterError:
            raise
        except PtauditError:
            _leave(folder, state)
            raise
        shutil.rmtree(state, ignore_errors=True)


def clear(folder: Path) -> None:
    """Remove what a run that ended left because it was killed right then; not while it is still at it."""
    state = folder / RESUME
    if state.is_dir():
        with suppress(RunFolderError), _locked(folder, state / _LOCK):
            shutil.rmtree(state, ignore_errors=True)


@contextmanager
def _locked(folder: Path, path: Path) -> Iterator[int]:
    """A lock of the system on a file: let go however this process ends."""
    with _writing(folder):
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = path.open("a+", encoding="utf-8")
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise _occupied(folder, path) from error
        with _writing(folder):
            lock.truncate(0)
            lock.write(str(os.getpid()))
            lock.flush()
        yield lock.fileno()


@contextmanager
def _writing(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise RunFolderError(f"cannot be written: {error.strerror}", where=str(folder), remedy=_ELSEWHERE) from error


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _occupied(folder: Path, lock: Path) -> RunFolderError:
    try:
        process = f" (process {lock.read_text(encoding='utf-8')})"
    except OSError:
        process = ""
    return RunFolderError(
        f"another run is under way here{process}",
        where=str(folder),
        remedy="wait for it, or choose another with --out",
    )


def _empty(state: Path, names: Sequence[str] | None) -> None:
    """Remove what is in the state, or some of it; never the lock."""
    for path in list(state.iterdir()):
        if path.name == _LOCK or (names is not None and path.name not in names):
            continue
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()


def _leave(folder: Path, state: Path) -> None:
    shutil.rmtree(state, ignore_errors=True)
    with suppress(OSError):
        folder.rmdir()  # stays where it holds anything else
