"""`ptaudit init`: a first spec and model that run as they are."""

from __future__ import annotations

import shlex
from importlib.resources import files
from pathlib import Path
from typing import Annotated

import typer

from ptaudit.cli.options import Verbose
from ptaudit.cli.streams import emit
from ptaudit.errors import PtauditError
from ptaudit.escape import terminal


def init(
    folder: Annotated[Path, typer.Argument(metavar="[DIR]", help="Where to write; made if need be.")] = Path(),
    verbose: Verbose = False,
) -> None:
    """Write a first spec and model. Both run as they are; a file that exists is never overwritten."""
    written = write_template(folder)
    lines = [f"wrote {path}" for path in written]
    spec = next(path for path in written if path.suffix == ".yaml")
    lines.append(f"next: ptaudit check {shlex.quote(str(spec))} && ptaudit run {shlex.quote(str(spec))}")
    emit("".join(f"{terminal(line)}\n" for line in lines))


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
