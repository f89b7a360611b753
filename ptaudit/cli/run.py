"""`ptaudit run`: the audit itself."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from ptaudit.cli.options import Device, FormatName, Inconclusive, Outputs, Overrides, Quiet, SpecFile, Verbose
from ptaudit.cli.output import (
    choose_format,
    emit,
    page_for,
    parse_inconclusive,
    parse_outputs,
    report_gates,
    verdict_line,
    write_outputs,
)
from ptaudit.cli.progress import open_progress
from ptaudit.errors import PtauditError
from ptaudit.report import open_format


def run(
    spec: SpecFile,
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="The run folder. Default: runs/NAME of the spec.")
    ] = None,
    device: Device = "auto",
    fresh: Annotated[bool, typer.Option("--fresh", help="Replace a run folder that exists.")] = False,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the last whole epoch of a run.")] = False,
    no_gate: Annotated[bool, typer.Option("--no-gate", help="Do not decide the gates of the spec.")] = False,
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
    chosen, sinks = choose_format(format_name), parse_outputs(output)
    undecided = parse_inconclusive(inconclusive)
    try:
        with open_progress(quiet) as progress:
            from ptaudit.pipeline import audit

            result = audit(
                spec,
                out=out,
                device=device,
                fresh=fresh,
                resume=resume,
                gate=not no_gate,
                overrides=tuple(overrides or ()),
                progress=progress,
                inconclusive=undecided,
            )
    except KeyboardInterrupt:
        raise KeyboardInterrupt(f"resume with {resume_command(spec, out, device, overrides or ())}") from None
    page = page_for(chosen, forced=format_name is not None, folder=result.path, inconclusive=undecided)
    brief = quiet and format_name is None
    emit(verdict_line(result.run) if brief else open_format(chosen).render(result.run, page))
    write_outputs(sinks, lambda to, on: to.render(result.run, on), page)
    report_gates(result.run.verdicts)
    raise typer.Exit(result.exit_code)


def resume_command(spec: Path, out: Path | None, device: str, overrides: Sequence[str]) -> str:
    """The command that goes on with an interrupted run: all that decides its tables, in the user's words."""
    words = ["ptaudit", "run", str(spec), "--resume"]
    words += ["--out", str(out)] if out else []
    words += ["--device", device] if device != "auto" else []
    words += [word for override in overrides for word in ("--set", override)]
    return shlex.join(words)
