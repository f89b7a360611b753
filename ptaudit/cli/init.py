"""`ptaudit init`: a first spec and model that run as they are."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ptaudit.cli.options import Verbose
from ptaudit.cli.output import emit


def init(
    folder: Annotated[Path, typer.Argument(metavar="[DIR]", help="Where to write; made if need be.")] = Path(),
    verbose: Verbose = False,
) -> None:
    """Write a first spec and model. Both run as they are; a file that exists is never overwritten."""
    from ptaudit.spec import write_template

    written = write_template(folder)
    lines = [f"wrote {path}" for path in written]
    spec = next(path for path in written if path.suffix == ".yaml")
    emit("\n".join([*lines, f"next: ptaudit check {spec} && ptaudit run {spec}"]) + "\n")
