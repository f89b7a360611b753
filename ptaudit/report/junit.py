"""JUnit XML: every gate is a test case, so that a CI server lists it beside the tests."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar
from xml.etree import ElementTree

from ptaudit.escape import xml
from ptaudit.report import Gates, Page
from ptaudit.report.gates import GateFormat, message, outcome_of

if TYPE_CHECKING:
    from ptaudit.tables.verdict import Verdict


class JUnit(GateFormat):
    """Test suites: a gate that failed is a failure, one that could not be decided at all an error, an undecided one is
    skipped, or failed or passed as `page.inconclusive` says."""

    name: ClassVar[str] = "junit"

    def draw(self, judged: Gates, page: Page) -> str:
        """The gates as test cases."""
        run = judged.run
        cases = [_case(run.name, verdict, page) for verdict in run.verdicts]
        cases += [_broken(run.name, gate, said) for gate, said in judged.broken]
        totals = {"tests": str(len(cases))}
        for noun, tag in (("failures", "failure"), ("errors", "error"), ("skipped", "skipped")):
            totals[noun] = str(sum(case.find(tag) is not None for case in cases))
        suites = ElementTree.Element("testsuites", totals)
        suite = ElementTree.SubElement(suites, "testsuite", {"name": "ptaudit gates", **totals, "time": "0"})
        suite.extend(cases)
        ElementTree.indent(suites)
        return '<?xml version="1.0" encoding="UTF-8"?>\n' + ElementTree.tostring(suites, encoding="unicode") + "\n"


def _element(run_name: str, gate: str) -> ElementTree.Element:
    return ElementTree.Element("testcase", {"classname": xml(f"ptaudit.{run_name}"), "name": xml(gate), "time": "0"})


def _case(run_name: str, verdict: Verdict, page: Page) -> ElementTree.Element:
    case, said, outcome = _element(run_name, verdict.id), message(verdict), outcome_of(verdict, page)
    if outcome == "fail":
        failure = ElementTree.SubElement(case, "failure", {"type": verdict.outcome, "message": said})
        failure.text = xml(verdict.advice or "")
    elif outcome == "inconclusive":
        ElementTree.SubElement(case, "skipped", {"message": said})
    ElementTree.SubElement(case, "system-out").text = said
    return case


def _broken(run_name: str, gate: str, said: str) -> ElementTree.Element:
    case = _element(run_name, gate)
    ElementTree.SubElement(case, "error", {"type": "error", "message": xml(said)})
    return case
