"""The first spec of a new user: a commented `spec.yaml` and the model that it trains."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

from ptaudit.errors import PtauditError

_NAMES = ("spec.yaml", "model.py")


def write_template(folder: Path) -> list[Path]:
    """Write `spec.yaml` and `model.py` into a folder, which is made if need be.

    Returns:
        The files written.

    Raises:
        PtauditError: one of them is there already (then none is written), or the folder cannot be written to.
    """
    source = files("ptaudit.spec") / "templates"
    paths = [folder / name for name in _NAMES]
    for path in paths:
        if path.exists() or path.is_symlink():
            raise PtauditError("this file is there already", where=str(path), remedy="move it, or name another folder")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for path in paths:
            with path.open("xb") as file:  # never through a link that somebody made meanwhile
                file.write((source / path.name).read_bytes())
    except OSError as error:
        raise PtauditError(f"cannot be written: {error.strerror}", where=str(folder)) from error
    return paths
