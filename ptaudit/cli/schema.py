"""`ptaudit schema`: the JSON Schema of a spec."""

from __future__ import annotations

from ptaudit.cli.options import Verbose
from ptaudit.cli.output import Screen
from ptaudit.cli.streams import emit


def schema(verbose: Verbose = False) -> None:
    """Print the JSON Schema of a spec. For editors and other tools."""
    from ptaudit.report.json import to_json
    from ptaudit.spec.model import json_schema

    emit(to_json(json_schema(), Screen("json", forced=True).page()))
