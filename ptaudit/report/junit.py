"""JUnit XML: every gate is a test case, so that a CI server lists it beside the tests."""

from __future__ import annotations

from typing import TYPE_CHECKING
from xml.etree import ElementTree

from ptaudit.errors import PtauditError
from ptaudit.escape import xml
from ptaudit.report import PAGE, Gates, Page, Subject, whole_formats
from ptaudit.report.pages import gate_rule
from ptaudit.report.words import bounds_text, view_text
from ptaudit.tables.run import Run

if TYPE_CHECKING:
    from ptaudit.tables.verdict import Verdict


class JUnit:
    """Test suites; see `Format`. What is not about gates is refused by a `PtauditError`."""

    def render(self, subject: Subject, page: Page = PAGE) -> str:
        """The gates of a run. An undecided gate is skipped, or failed or passed as `page.inconclusive` says."""
        run = subject.run if isinstance(subject, Gates) else subject
        if not isinstance(run, Run):
            raise PtauditError("junit reports gates of runs alone", remedy=f"use {whole_formats()}")
        cases = [_case(run.name, verdict, page) for verdict in run.verdicts]
        totals = {
            "tests": str(len(cases)),
            "failures": str(sum(case.find("failure") is not None for case in cases)),
            "errors": "0",
            "skipped": str(sum(case.find("skipped") is not None for case in cases)),
        }
        suites = ElementTree.Element("testsuites", totals)
        suite = ElementTree.SubElement(suites, "testsuite", {"name": "ptaudit gates", **totals, "time": "0"})
        suite.extend(cases)
        ElementTree.indent(suites)
        return '<?xml version="1.0" encoding="UTF-8"?>\n' + ElementTree.tostring(suites, encoding="unicode") + "\n"


def _case(run_name: str, verdict: Verdict, page: Page) -> ElementTree.Element:
    case = ElementTree.Element(
        "testcase", {"classname": xml(f"ptaudit.{run_name}"), "name": xml(verdict.id), "time": "0"}
    )
    message = _message(verdict)
    outcome = verdict.outcome
    if outcome == "inconclusive" and page.inconclusive:
        outcome = page.inconclusive
    if outcome == "fail":
        failure = ElementTree.SubElement(case, "failure", {"type": verdict.outcome, "message": message})
        failure.text = xml(verdict.advice or "")
    elif outcome == "inconclusive":
        ElementTree.SubElement(case, "skipped", {"message": message})
    ElementTree.SubElement(case, "system-out").text = message
    return case


def _message(verdict: Verdict) -> str:
    found = bounds_text(verdict.value, verdict.lo, verdict.hi, 3)
    view = view_text(verdict.view, verdict.trained_with)
    place = f"view {view}, layer {verdict.worst_layer}, epoch {verdict.worst_epoch}"
    reason = "; ".join(text for text in (verdict.reason, verdict.warning) if text)
    reason = f": {reason}" if reason else ""
    return xml(f"{verdict.outcome}: {gate_rule(verdict)}; worst {found} in {place}{reason}")
