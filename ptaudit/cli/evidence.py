"""`ptaudit evidence` and `ptaudit verify`: a folder for somebody who does not trust us, and how that one checks it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ptaudit.cli.options import RunFolder, Verbose
from ptaudit.cli.streams import emit, say
from ptaudit.escape import terminal


def evidence(
    run_folder: RunFolder,
    out: Annotated[Path, typer.Option(metavar="DIR", help="The folder to make.")],
    baseline: Annotated[
        Path | None, typer.Option(metavar="RUN", help="Run folder that max_increase is measured from.")
    ] = None,
    sign: Annotated[
        Path | None,
        typer.Option(metavar="KEY", help="Sign it with this Ed25519 private key (PEM; pip install 'ptaudit[sign]')."),
    ] = None,
    verbose: Verbose = False,
) -> None:
    """Write a folder of evidence: tables, hashes, verdicts, and which attacks were run and which not and why."""
    from ptaudit.evidence.folder import PAGE, write_evidence
    from ptaudit.report.words import plural

    judged = write_evidence(run_folder, out, baseline, sign)
    states = [entry["state"] for entry in judged.content["attacks"]]
    said = f"{judged.content['verdict']}, {states.count('run')} of {len(states)} classes of attacks were run"
    emit(terminal(f"{out / PAGE}: {said}") + "\n")
    waiting = judged.content["gates_without_a_baseline"]
    if waiting:
        say(f"{plural(len(waiting), 'gate')} not decided, for want of --baseline: {', '.join(waiting)}")


def verify(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A folder that `ptaudit evidence` wrote.")],
    key: Annotated[
        Path | None, typer.Option(metavar="PUB", help="The signer's Ed25519 public key (PEM), from another source.")
    ] = None,
    verbose: Verbose = False,
) -> None:
    """Check a folder of evidence: hashes, signature, every verdict derived again. Code 1: something does not hold."""
    from ptaudit.evidence.verify import verify as check

    found = check(folder, key)
    for line in found.wrong:
        emit(terminal(f"does not hold: {line}") + "\n")
    for line in found.right if not found.wrong else ():
        emit(terminal(f"holds: {line}") + "\n")
    for line in found.notes:
        say(f"note: {line}")
    raise typer.Exit(1 if found.wrong else 0)
