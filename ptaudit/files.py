"""Files that are whole or not there."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from ptaudit.errors import RunFolderError


def write_whole(path: Path, content: str | bytes | memoryview) -> None:
    """Write beside the file's name and rename, so that nobody ever sees half a file; its folder is made if need be.

    Raises:
        RunFolderError: the disk is full, the folder is read-only or the like; a file that was there is as it was.
    """
    beside = path.with_name(f".{path.name}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with beside.open("wb") as file:
            file.write(content.encode() if isinstance(content, str) else content)
            file.flush()
            os.fsync(file.fileno())  # a name must not outlive a power failure that its content did not
        beside.replace(path)
    except OSError as error:
        raise RunFolderError(f"cannot be written: {error.strerror or error}", where=str(path)) from error
    finally:
        with suppress(OSError):
            beside.unlink(missing_ok=True)
