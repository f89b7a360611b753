"""`ptaudit init`: a first spec and model that run as they are."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer

from ptaudit.cli.options import Verbose
from ptaudit.cli.streams import emit
from ptaudit.escape import terminal


def init(
    folder: Annotated[Path, typer.Argument(metavar="[DIR]", help="Where to write; made if need be.")] = Path(),
    verbose: Verbose = False,
) -> None:
    """Write a first spec and model. Both run as they are; a file that exists is never overwritten."""
    from ptaudit.spec.template import write_template

    written = write_template(folder)
    lines = [f"wrote {path}" for path in written]
    spec = next(path for path in written if path.suffix == ".yaml")
    lines.append(f"next: ptaudit check {shlex.quote(str(spec))} && ptaudit run {shlex.quote(str(spec))}")
    emit("".join(f"{terminal(line)}\n" for line in lines))
