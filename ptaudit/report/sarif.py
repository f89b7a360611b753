"""SARIF 2.1.0 (OASIS): every gate is a rule, every verdict a result at the gate's line of the spec."""

from __future__ import annotations

from importlib.metadata import version
from typing import TYPE_CHECKING, Any, ClassVar
from urllib.parse import quote

from ptaudit.escape import terminal
from ptaudit.report import Gates, Page
from ptaudit.report.gates import GateFormat, gate_lines, message, outcome_of, spec_name
from ptaudit.report.json import to_json
from ptaudit.report.pages import gate_rule
from ptaudit.tables.formats import finite

if TYPE_CHECKING:
    from ptaudit.tables.verdict import Verdict

SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"
_KIND = {"pass": ("pass", "none"), "fail": ("fail", "error"), "inconclusive": ("open", "none")}
"""Kind and level of a result: only what failed has a level (section 3.27.10 of the standard)."""
_NUMBERS = ("value", "lo", "hi", "threshold", "rows", "n", "needed")


class Sarif(GateFormat):
    """A log of one run of ptaudit; a gate that could not be decided at all is an error too, and a
    notification of the tool."""

    name: ClassVar[str] = "sarif"

    def draw(self, judged: Gates, page: Page) -> str:
        """The gates as rules and results."""
        run = judged.run
        file, lines = spec_name(run, page), gate_lines(run, page)
        rules = [_rule(verdict) for verdict in run.verdicts]
        results = [
            {
                **_result(verdict, page),
                "ruleIndex": k,
                "locations": [_location(file, lines.get(verdict.id, 1), verdict)],
            }
            for k, verdict in enumerate(run.verdicts)
        ]
        rules += [{"id": terminal(gate), "defaultConfiguration": {"level": "error"}} for gate, _ in judged.broken]
        results += [
            {**_error(gate, why), "ruleIndex": len(results) + k, "locations": [_place(file, lines.get(gate, 1))]}
            for k, (gate, why) in enumerate(judged.broken)
        ]
        said = [{"level": "error", "message": {"text": terminal(why)}} for _, why in judged.broken]
        ended = {"executionSuccessful": not said, **({"toolExecutionNotifications": said} if said else {})}
        driver = {"name": "ptaudit", "version": version("ptaudit"), "rules": rules}
        log = {"tool": {"driver": driver}, "invocations": [ended], "results": results}
        return to_json({"$schema": SCHEMA, "version": "2.1.0", "runs": [log]}, page)


def _rule(verdict: Verdict) -> dict[str, Any]:
    asked = f"{gate_rule(verdict)} in view {verdict.view}, over {verdict.over}, epoch {verdict.epoch}"
    return {
        "id": terminal(verdict.id),
        "shortDescription": {"text": terminal(gate_rule(verdict))},
        "fullDescription": {"text": terminal(asked)},
        "defaultConfiguration": {"level": "error"},
    }


def _result(verdict: Verdict, page: Page) -> dict[str, Any]:
    kind, level = _KIND[outcome_of(verdict, page)]
    advice = f"; advice: {verdict.advice}" if verdict.advice else ""
    return {
        "ruleId": terminal(verdict.id),
        "kind": kind,
        "level": level,
        "message": {"text": message(verdict) + terminal(advice)},
        "partialFingerprints": {"gate/v1": terminal(verdict.id)},
        "properties": {name: finite(getattr(verdict, name)) for name in _NUMBERS},
    }


def _error(gate: str, why: str) -> dict[str, Any]:
    """What there is to say of a gate that could not be decided at all."""
    name = terminal(gate)
    said = {"message": {"text": terminal(why)}, "partialFingerprints": {"gate/v1": name}}
    return {"ruleId": name, "kind": "fail", "level": "error", **said}


def _place(file: str, line: int) -> dict[str, Any]:
    return {"physicalLocation": {"artifactLocation": {"uri": quote(file)}, "region": {"startLine": line}}}


def _location(file: str, line: int, verdict: Verdict) -> dict[str, Any]:
    return {
        **_place(file, line),
        "logicalLocations": [{"name": terminal(verdict.worst_layer), "kind": "layer"}],
    }
