"""What CI servers read: valid files, at the gate's line of the spec, with names that cannot steer anything."""

from __future__ import annotations

import json
from dataclasses import replace
from xml.etree import ElementTree

import jsonschema
import pytest
from evidence.evidence_case import evidence_run
from example_run import SPEC, VERDICTS, example_comparison, example_run, verdict
from typer.testing import CliRunner

from ptaudit.cli import app
from ptaudit.errors import PtauditError
from ptaudit.report import Gates, Page, open_format
from ptaudit.report.gates import gate_lines
from ptaudit.tables.folder import write_run

TEXT = {"type": "object", "properties": {"text": {"type": "string", "minLength": 1}}, "required": ["text"]}
SARIF = {
    "type": "object",
    "required": ["version", "runs"],
    "additionalProperties": False,
    "properties": {
        "$schema": {"type": "string", "format": "uri"},
        "version": {"enum": ["2.1.0"]},
        "runs": {"type": "array", "items": {"$ref": "#/definitions/run"}},
    },
    "definitions": {
        "run": {
            "type": "object",
            "required": ["tool"],
            "additionalProperties": False,
            "properties": {
                "tool": {
                    "type": "object",
                    "required": ["driver"],
                    "additionalProperties": False,
                    "properties": {"driver": {"$ref": "#/definitions/driver"}},
                },
                "invocations": {"type": "array", "items": {"$ref": "#/definitions/invocation"}},
                "results": {"type": "array", "items": {"$ref": "#/definitions/result"}},
            },
        },
        "driver": {
            "type": "object",
            "required": ["name"],
            "additionalProperties": False,
            "properties": {
                "name": {"type": "string"},
                "version": {"type": "string"},
                "rules": {"type": "array", "uniqueItems": True, "items": {"$ref": "#/definitions/rule"}},
            },
        },
        "rule": {
            "type": "object",
            "required": ["id"],
            "additionalProperties": False,
            "properties": {
                "id": {"type": "string"},
                "shortDescription": TEXT,
                "fullDescription": TEXT,
                "defaultConfiguration": {
                    "type": "object",
                    "properties": {"level": {"enum": ["none", "note", "warning", "error"]}},
                },
            },
        },
        "invocation": {
            "type": "object",
            "required": ["executionSuccessful"],
            "additionalProperties": False,
            "properties": {
                "executionSuccessful": {"type": "boolean"},
                "toolExecutionNotifications": {
                    "type": "array",
                    "items": {
                        "type": "object",
                        "required": ["message"],
                        "properties": {"level": {"enum": ["none", "note", "warning", "error"]}, "message": TEXT},
                    },
                },
            },
        },
        "result": {
            "type": "object",
            "required": ["message"],
            "additionalProperties": False,
            "properties": {
                "ruleId": {"type": "string"},
                "ruleIndex": {"type": "integer", "minimum": -1},
                "kind": {"enum": ["notApplicable", "pass", "fail", "review", "open", "informational"]},
                "level": {"enum": ["none", "note", "warning", "error"]},
                "message": TEXT,
                "locations": {"type": "array", "items": {"$ref": "#/definitions/location"}},
                "partialFingerprints": {"type": "object", "additionalProperties": {"type": "string"}},
                "properties": {"type": "object"},
            },
            "if": {"properties": {"kind": {"not": {"enum": ["fail"]}}}},
            "then": {"properties": {"level": {"enum": ["none"]}}},
        },
        "location": {
            "type": "object",
            "additionalProperties": False,
            "properties": {
                "physicalLocation": {
                    "type": "object",
                    "required": ["artifactLocation"],
                    "properties": {
                        "artifactLocation": {
                            "type": "object",
                            "properties": {"uri": {"type": "string", "pattern": "^[^ \\\\]+$"}},
                        },
                        "region": {
                            "type": "object",
                            "properties": {"startLine": {"type": "integer", "minimum": 1}},
                        },
                    },
                },
                "logicalLocations": {"type": "array", "items": {"type": "object"}},
            },
        },
    },
}
"""What SARIF 2.1.0 (OASIS, sections 3.13 to 3.58) says of the objects that are written, and of no others."""

SPEC_FILE = """\
# what may leak
version: 1
name: shown
model: {{entry: torchvision:resnet18}}
data: {{source: sklearn:digits}}
train: {{epochs: 8}}
audit: {{games: [identity], views: [{{name: record, batch_size: 1}}]}}
gates:
{gate}
"""
USERS = f"# what may leak\n{SPEC}- {{id: record-leak, metric: identity.bits, view: record, over: layers, max: 5}}\n"


def sarif(subject, **page):
    log = json.loads(open_format("sarif").render(subject, replace(Page(), **page)))
    jsonschema.validate(log, SARIF)
    return log["runs"][0]


def test_every_gate_is_a_rule_and_a_result_of_its_kind():
    run = sarif(example_run())
    assert [rule["id"] for rule in run["tool"]["driver"]["rules"]] == ["batch-leak", "record-leak", "members"]
    assert [(one["ruleIndex"], one["kind"], one["level"]) for one in run["results"]] == [
        (0, "pass", "none"),
        (1, "fail", "error"),
        (2, "open", "none"),
    ]
    assert run["invocations"] == [{"executionSuccessful": True}]
    counted = {how: sarif(example_run(), inconclusive=how)["results"][2]["level"] for how in ("pass", "fail")}
    assert counted == {"pass": "none", "fail": "error"}


def test_the_check_of_the_schema_can_fail():
    wrong = {"version": "2.1.0", "runs": [{"tool": {"driver": {"name": "x"}}, "results": [{"kind": "open"}]}]}
    with pytest.raises(jsonschema.ValidationError, match="message"):
        jsonschema.validate(wrong, SARIF)
    wrong["runs"][0]["results"] = [{"message": {"text": "x"}, "kind": "open", "level": "error"}]
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(wrong, SARIF)


def test_results_point_at_the_gates_line_of_the_spec_that_was_run():
    results = sarif(example_run(), spec="audit/my spec.yaml", spec_text=USERS)["results"]
    places = [one["locations"][0]["physicalLocation"] for one in results]
    assert {place["artifactLocation"]["uri"] for place in places} == {"audit/my%20spec.yaml"}
    lines = USERS.splitlines()
    for place, result in zip(places[:2], results):
        assert f"id: {result['ruleId']}" in lines[place["region"]["startLine"] - 1]
    assert places[2]["region"]["startLine"] == 1  # the spec has no such gate
    own = sarif(example_run(), folder="runs/x")["results"][0]["locations"][0]["physicalLocation"]
    assert own["artifactLocation"]["uri"] == "runs/x/spec.resolved.yaml"


def test_a_spec_that_cannot_be_read_points_at_its_first_line():
    for text in ("", "gates: 3", "gates: [3]", "a: [", "- x"):
        assert gate_lines(replace(example_run(), spec_text=text), Page()) == {}


def test_a_gate_that_could_not_be_decided_is_an_error_and_no_failure():
    broken = Gates(replace(example_run(), verdicts=VERDICTS[:1]), (("no-worse", "no baseline"),))
    suites = ElementTree.fromstring(open_format("junit").render(broken))
    assert {name: suites.get(name) for name in ("tests", "failures", "errors", "skipped")} == {
        "tests": "2",
        "failures": "0",
        "errors": "1",
        "skipped": "0",
    }
    run = sarif(broken)
    assert run["invocations"][0]["executionSuccessful"] is False
    assert open_format("github").log_lines(broken)[0].endswith("title=gate no-worse::no baseline")


def test_github_shows_ten_annotations_and_the_failed_gates_first():
    verdicts = [verdict(f"open-{k}", "inconclusive") for k in range(8)] + [verdict(f"f-{k}", "fail") for k in range(8)]
    lines = open_format("github").log_lines(replace(example_run(), verdicts=tuple(verdicts)))
    assert len(lines) == 10
    assert [line.startswith("::error ") for line in lines] == [True] * 8 + [False] * 2
    assert lines[-1].endswith("::7 more gates did not pass")
    passed = tuple(verdict(f"p-{k}", "pass") for k in range(20))
    assert open_format("github").log_lines(replace(example_run(), verdicts=passed)) == ()


def test_names_cannot_end_an_annotation_or_begin_another():
    bad = verdict("leak", "fail", worst_layer="a\n::error::b%0A::x", view="v,line=9::y")
    (line,) = open_format("github").log_lines(replace(example_run(), verdicts=(bad,)), Page(spec="a,b:c.yaml"))
    assert "\n" not in line
    assert line.startswith("::error file=a%2Cb%3Ac.yaml,line=1,title=gate leak::")
    assert "b%250A::x" in line


def test_the_summary_of_a_step_has_a_size_that_github_takes(monkeypatch):
    monkeypatch.setattr("ptaudit.report.github._MOST_BYTES", 500)
    text = open_format("github").render(example_run())
    assert len(text.encode()) < 600
    assert text.endswith("Cut: a summary may have 500 bytes.\n")


@pytest.mark.parametrize("name", ["junit", "sarif"])
def test_what_is_not_about_gates_is_refused_with_what_to_use(name):
    with pytest.raises(
        PtauditError, match=f"{name} reports gates of runs alone \\(use rich, plain, md, html, json or csv\\)"
    ):
        open_format(name).render(example_comparison())


# --- as the command line writes them


@pytest.fixture
def folder(tmp_path):
    write_run(evidence_run(), tmp_path / "run")
    return tmp_path / "run"


def test_a_gate_without_its_baseline_is_an_error_in_the_files_and_code_2(folder, tmp_path):
    outputs = [f"--output={name}={tmp_path / name}" for name in ("junit", "sarif", "github", "csv")]
    found = CliRunner().invoke(app, ["gate", str(folder), *outputs])
    assert (found.exit_code, found.stdout) == (2, "")
    assert "gate no-worse: no baseline to compare with (give --baseline RUN)" in found.stderr
    suites = ElementTree.parse(tmp_path / "junit").getroot()
    assert [suites.get(name) for name in ("tests", "failures", "errors")] == ["3", "1", "1"]
    assert json.loads((tmp_path / "sarif").read_text())["runs"][0]["invocations"][0]["executionSuccessful"] is False
    assert "::error file=" in found.stderr
    assert (tmp_path / "csv").read_text().startswith("id,metric,view,")


def test_in_github_actions_the_spec_is_annotated_and_the_summary_grows(folder, tmp_path, monkeypatch):
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path / "summary.md"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "summary.md").write_text("before\n")
    spec = tmp_path / "audit.yaml"
    gate = "- {id: share, metric: identity.bits, view: record, over: layers, epoch: last, max_share: 0.2}"
    spec.write_text(SPEC_FILE.format(gate=gate))
    found = CliRunner().invoke(app, ["gate", "run", "--spec", "audit.yaml", "--output", "github"])
    assert found.exit_code == 1, found.output
    line = spec.read_text().splitlines().index(gate) + 1
    assert f"::error file=audit.yaml,line={line},title=gate share::fail: identity.bits / ceiling <= 0.2" in found.stderr
    assert (tmp_path / "summary.md").read_text().startswith("before\n# ptaudit gates of digits-lenet\n")


def test_github_needs_a_file_outside_of_github(folder, monkeypatch):
    monkeypatch.delenv("GITHUB_STEP_SUMMARY", raising=False)
    found = CliRunner().invoke(app, ["gate", str(folder), "--output", "github"])
    assert found.exit_code == 2
    assert "--output github needs a file: $GITHUB_STEP_SUMMARY is not set (github=FILE)" in found.stderr
