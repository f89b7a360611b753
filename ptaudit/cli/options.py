"""Options and arguments that several verbs share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ptaudit.report import whole_formats

SpecFile = Annotated[
    Path, typer.Argument(metavar="SPEC", help="The spec, a YAML file. It runs the Python that it names.")
]
RunFolder = Annotated[Path, typer.Argument(metavar="RUN", help="A run folder.")]
Overrides = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Change a key of the spec, e.g. train.epochs=2. Repeatable."),
]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")]
FormatName = Annotated[
    str | None,
    typer.Option("--format", metavar="FORMAT", help=f"{whole_formats()}. Default: rich on a terminal, else plain."),
]
Outputs = Annotated[
    list[str] | None,
    typer.Option(
        "--output",
        metavar="FORMAT=FILE",
        help="Write a report to a file too, e.g. junit=gates.xml, sarif=gates.sarif, md=report.md; "
        "github alone annotates the spec and adds to the step's summary. Repeatable.",
    ),
]
Inconclusive = Annotated[
    str | None,
    typer.Option(metavar="pass|fail", help="What an inconclusive gate counts as. Default: neither, exit code 3."),
]
Verbose = Annotated[bool, typer.Option("--verbose", "-v", help="Show the traceback of an error.")]
Quiet = Annotated[
    bool, typer.Option("--quiet", "-q", help="No progress, and only the verdict line unless --format is given.")
]
