"""Files that are whole or not there."""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from pathlib import Path

from ptaudit.errors import RunFolderError


def real(path: Path) -> Path:
    """Where the links of a path lead; the path itself where they lead in a circle."""
    try:
        return path.resolve()
    except (OSError, RuntimeError):
        return path.absolute()


def write_whole(path: Path, content: str | bytes | memoryview) -> None:
    """Write beside the file's name and rename, so that nobody ever sees half a file; its folder is made if need be.

    A link stays, and what it leads to is written; a file keeps its mode; what is no file (a device, a pipe) is written
    to as it is.

    Raises:
        RunFolderError: the disk is full, the folder is read-only or the like; a file that was there is as it was.
    """
    data = content.encode() if isinstance(content, str) else content
    try:
        target = path.resolve() if path.is_symlink() else path
        mode = target.stat().st_mode if target.exists() else None
        if mode is not None and not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
            target.write_bytes(data)
            return
        target.parent.mkdir(parents=True, exist_ok=True)
        _replace(target, data, mode)
    except (OSError, RuntimeError) as error:  # a link that leads to itself is a RuntimeError
        said = getattr(error, "strerror", None) or error
        raise RunFolderError(f"cannot be written: {said}", where=str(path)) from error


def _replace(path: Path, data: bytes | memoryview, mode: int | None) -> None:
    beside = path.with_name(f".{path.name}.part")
    try:
        with beside.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())  # a name must not outlive a power failure that its content did not
        if mode is not None:
            beside.chmod(stat.S_IMODE(mode))
        beside.replace(path)
    finally:
        with suppress(OSError):
            beside.unlink(missing_ok=True)
