"""The command line: one thin file per verb. Nothing here imports torch before a verb needs it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

import typer

from ptaudit.cli import check, compare, evidence, gate, init, run, schema, selftest, show
from ptaudit.cli.guard import Commands, Verb, guarded, leaving_when_told
from ptaudit.cli.streams import open_closed

EXIT_CODES = "Exit codes: 0 ok, 1 a gate failed, 2 usage, spec or internal error, 3 inconclusive, 130 interrupted."
RUNS_CODE = "A spec runs the Python that it names (model, loss, data): run only specs that you trust."

app = typer.Typer(
    name="ptaudit",
    cls=Commands,
    help=f"Audit what a PyTorch training run gives away about its training data.\n\n{RUNS_CODE}",
    epilog=EXIT_CODES,
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"ptaudit {version('ptaudit')}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    pass


_VERBS: dict[str, Callable[..., None]] = {
    "init": init.init,
    "check": check.check,
    "run": run.run,
    "show": show.show,
    "compare": compare.compare,
    "gate": gate.gate,
    "evidence": evidence.evidence,
    "verify": evidence.verify,
    "selftest": selftest.selftest,
    "schema": schema.schema,
}

for _name, _verb in _VERBS.items():
    app.command(_name, cls=Verb, epilog=EXIT_CODES)(guarded(_verb))


def main() -> None:
    """Entry point of the console script."""
    open_closed()
    with leaving_when_told():
        try:
            app()
        except OSError:  # of usage errors, where stderr takes nothing: 1 would be a failed gate
            raise SystemExit(2) from None
