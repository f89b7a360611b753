"""`ptaudit run`: the audit itself."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from ptaudit.cli.options import Device, FormatName, Inconclusive, Outputs, Overrides, Quiet, SpecFile, Verbose
from ptaudit.cli.output import Showing
from ptaudit.cli.progress import open_progress
from ptaudit.cli.streams import prints_on_stderr
from ptaudit.errors import PtauditError


def run(
    spec: SpecFile,
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="The run folder. Default: runs/NAME of the spec.")
    ] = None,
    device: Device = "auto",
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Replace a run that exists, once the new one is whole.")
    ] = False,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the last whole epoch of a run.")] = False,
    no_gate: Annotated[bool, typer.Option("--no-gate", help="Do not decide the gates of the spec.")] = False,
    keep_records: Annotated[
        bool,
        typer.Option(
            "--keep-records",
            help="Write scores of single records (samples.csv), pictures of rebuilt ones (rebuilt/) and how columns "
            "became inputs (preprocess.json).",
        ),
    ] = False,
    address: Annotated[
        str | None,
        typer.Option(
            metavar="HOST:PORT|auto",
            help="The Ray cluster that trains several seeds and defenses side by side, and reference models "
            "(fleet.engine: ray). Default: a Ray of this machine, where fleet.engine is ray.",
        ),
    ] = None,
    overrides: Overrides = None,
    inconclusive: Inconclusive = None,
    format_name: FormatName = None,
    output: Outputs = None,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Audit a training run. Trains as the spec says, measures what leaks, writes the run folder.

    The spec runs the Python that it names.
    """
    if fresh and resume:
        raise PtauditError("--fresh and --resume exclude each other", remedy="leave one out")
    showing = Showing.asked(format_name, output, inconclusive, quiet)
    showing.spare(out or Path(), spec)
    try:
        with prints_on_stderr(), open_progress(quiet) as progress:
            from ptaudit.auditing import audit
            from ptaudit.report import UndecidableError

            try:
                result = audit(
                    spec,
                    out=out,
                    device=device,
                    fresh=fresh,
                    resume=resume,
                    gate=not no_gate,
                    overrides=tuple(overrides or ()),
                    progress=progress,
                    inconclusive=showing.inconclusive,
                    keep_records=keep_records,
                    address=address,
                )
            except UndecidableError as error:
                showing.write(error.judged, error.path, spec)
                raise
    except KeyboardInterrupt:
        raise KeyboardInterrupt(
            f"resume with {resume_command(spec, out, device, overrides or (), keep_records, address)}"
        ) from None
    showing.show(result.run, result.run, result.path, spec)
    raise typer.Exit(result.exit_code)


def resume_command(
    spec: Path,
    out: Path | None,
    device: str,
    overrides: Sequence[str],
    keep_records: bool = False,
    address: str | None = None,
) -> str:
    """The command that goes on with an interrupted run: all that decides its tables and where, in the user's words."""
    words = ["ptaudit", "run", str(spec), "--resume"]
    words += ["--out", str(out)] if out else []
    words += ["--device", device] if device != "auto" else []
    words += [word for override in overrides for word in ("--set", override)]
    words += ["--keep-records"] if keep_records else []
    words += ["--address", address] if address else []
    return shlex.join(words)
