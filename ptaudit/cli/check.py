"""`ptaudit check`: what an audit would capture, and what it would cost."""

from __future__ import annotations

import re
from typing import Annotated

import typer

from ptaudit.cli.options import Device, FormatName, Overrides, SpecFile, Verbose
from ptaudit.cli.output import Screen
from ptaudit.cli.streams import emit, prints_on_stderr
from ptaudit.errors import PtauditError


def check(
    spec: SpecFile,
    budget: Annotated[
        str | None, typer.Option(metavar="TIME", help="Fail when the estimate is over it, e.g. 90s, 5m or 1h.")
    ] = None,
    overrides: Overrides = None,
    device: Device = "auto",
    format_name: FormatName = None,
    verbose: Verbose = False,
) -> None:
    """Try a spec before it is run. Lists its layers and how each is captured, estimates time and memory.

    The spec runs the Python that it names.
    """
    screen = Screen.asked(format_name)
    limit = parse_duration(budget) if budget is not None else None

    from ptaudit.auditing import check as check_spec
    from ptaudit.report.words import duration

    with prints_on_stderr():
        report = check_spec(spec, device=device, overrides=tuple(overrides or ()))
    emit(screen.drawn(report))
    seconds = sum(report.estimate_seconds.values())
    if limit is not None and seconds > limit:
        raise PtauditError(
            f"the estimate of {duration(seconds)} is over the budget of {duration(limit)}",
            where=str(spec),
            remedy="audit fewer epochs, records or views, or raise --budget",
        )


_SECONDS = {"h": 3600.0, "m": 60.0, "s": 1.0, "": 1.0}
_FORM = re.compile(r"(?:(?P<h>\d+(?:\.\d+)?)h)?(?:(?P<m>\d+(?:\.\d+)?)m)?(?:(?P<s>\d+(?:\.\d+)?)s?)?", re.IGNORECASE)


def parse_duration(text: str) -> float:
    """Seconds; a bare number is seconds.

    Raises:
        PtauditError: not a duration, or not above zero.
    """
    match = _FORM.fullmatch(text.strip())
    parts = match.groupdict() if match else {}
    seconds = sum(float(amount) * _SECONDS[unit] for unit, amount in parts.items() if amount)
    if seconds <= 0:
        raise PtauditError(f"{text!r} is not a duration", remedy="write e.g. 90s, 5m or 1h30m")
    return seconds
