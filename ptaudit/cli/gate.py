"""`ptaudit gate`: verdicts from tables alone; needs no torch and writes nothing into the run folder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ptaudit.cli.options import FormatName, Inconclusive, Outputs, Quiet, RunFolder, Verbose
from ptaudit.cli.output import Showing
from ptaudit.errors import PtauditError
from ptaudit.report import Gates

if TYPE_CHECKING:
    from ptaudit.spec.model import GateSpec
    from ptaudit.tables.run import Run


def gate(
    run_folder: RunFolder,
    baseline: Annotated[
        Path | None, typer.Option(metavar="RUN", help="Run folder that max_increase is measured from.")
    ] = None,
    spec: Annotated[
        Path | None, typer.Option(metavar="SPEC", help="Take the gates of this spec instead of the run's own.")
    ] = None,
    inconclusive: Inconclusive = None,
    format_name: FormatName = None,
    output: Outputs = None,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Decide the gates of a finished run. Needs no torch, trains nothing, leaves the run folder as it is."""
    showing = Showing.asked(format_name, output, inconclusive, quiet)
    showing.spare(run_folder, *([spec] if spec else []))

    from ptaudit.gate import decide_each, exit_code
    from ptaudit.tables.folder import read_run

    run = read_run(run_folder)
    gates = gates_of(run, run_folder, spec)
    before = read_run(baseline) if baseline else None
    verdicts, broken = decide_each(gates, run, before)
    judged = Gates.of(run, verdicts, broken)
    if broken:
        showing.write(judged, run_folder, spec)
        raise next(iter(broken.values()))
    showing.show(judged.run, judged, run_folder, spec)
    raise typer.Exit(exit_code(verdicts, showing.inconclusive))


def gates_of(run: Run, folder: Path, spec: Path | None) -> Sequence[GateSpec]:
    """The gates of a spec file, else those that the run was made with.

    The resolved spec of a run is not loaded as a whole: its model and data need not be on this machine.

    Raises:
        PtauditError: there are none, or they are malformed.
    """
    from ptaudit.gate.own import own_gates
    from ptaudit.spec.load import load

    gates = load(spec).gates if spec else own_gates(run.spec_text, str(folder / "spec.resolved.yaml"))
    if not gates:
        remedy = "name a spec that has gates: --spec SPEC"
        raise PtauditError("there are no gates", where=str(spec or folder), remedy=remedy)
    return gates
