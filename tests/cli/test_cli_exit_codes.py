"""The exit-code table: every verb by every way it can end."""

from __future__ import annotations

import os
import signal
from dataclasses import replace

import pytest
from example_run import CASES, example_run, verdict
from typer.testing import CliRunner

from ptaudit.cli import app
from ptaudit.errors import SpecError, TrainingDivergedError
from ptaudit.tables.folder import write_run

SPEC_WITH_GATES = """\
gates:
- {id: strict, metric: identity.bits, view: batch-32, over: joint, epoch: last, max: %s}
"""


def call(*words, **options):
    return CliRunner().invoke(app, [str(word) for word in words], **options)


@pytest.mark.parametrize("code", [0, 1, 3])
def test_run_ends_with_the_code_of_the_audit(pipeline, code):
    pipeline.result.exit_code = code
    assert call("run", "spec.yaml").exit_code == code


@pytest.mark.parametrize("verb", ["run", "check", "selftest"])
@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (SpecError("unknown key", where="s.yaml:3", remedy="mend it"), 2, "error: s.yaml:3: unknown key (mend it)\n"),
        (TrainingDivergedError("loss is NaN", where="epoch 3, step 7"), 2, "error: epoch 3, step 7: loss is NaN\n"),
        (
            ValueError("bad\nshape"),
            2,
            "internal error: ValueError: bad shape (re-run with -v for the traceback)\n",
        ),
        (PermissionError(13, "Permission denied", "data/x.csv"), 2, "error: data/x.csv: Permission denied (re-run"),
        (MemoryError(), 2, "error: out of memory (re-run"),
        (SystemExit(0), 2, "error: Python that the spec names ended the process (sys.exit 0)\n"),
        (KeyboardInterrupt(), 130, "interrupted"),
    ],
)
def test_errors_are_one_line_on_stderr(pipeline, verb, error, code, line):
    pipeline.error = error
    result = call(verb, *(["spec.yaml"] if verb != "selftest" else []))
    assert result.exit_code == code
    assert result.stdout == ""
    assert line in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize("verb", ["run", "check", "selftest"])
def test_verbose_shows_the_traceback(pipeline, verb):
    pipeline.error = SpecError("unknown key")
    result = call(verb, *(["spec.yaml"] if verb != "selftest" else []), "-v")
    assert result.exit_code == 2
    assert "Traceback" in result.stderr
    assert result.stderr.endswith("error: unknown key\n")


def test_an_interrupted_run_says_how_to_resume(pipeline):
    pipeline.error = KeyboardInterrupt()
    words = ["run", "my spec.yaml", "--fresh", "--out", "o", "--device", "cpu", "--set", "a.b=1", "--address", "h:1"]
    result = call(*words)
    assert result.exit_code == 130
    said = (
        "interrupted: resume with ptaudit run 'my spec.yaml' --resume --out o --device cpu --set a.b=1 --address h:1\n"
    )
    assert result.stderr.endswith(said)


def test_sigterm_is_an_interrupt(pipeline, monkeypatch):
    before = signal.getsignal(signal.SIGTERM)
    monkeypatch.setattr(pipeline, "_maybe_fail", lambda: os.kill(os.getpid(), signal.SIGTERM))
    result = call("run", "spec.yaml")
    assert result.exit_code == 130
    assert "interrupted: resume with ptaudit run spec.yaml --resume" in result.stderr
    assert signal.getsignal(signal.SIGTERM) == before


USAGE = [
    (),
    ("nonsense",),
    ("run",),
    ("run", "spec.yaml", "--nonsense"),
    ("run", "spec.yaml", "--fresh", "--resume"),
    ("run", "spec.yaml", "--format", "pdf"),
    ("run", "spec.yaml", "--output", "junit"),
    ("run", "spec.yaml", "--output", "pdf=x"),
    ("run", "spec.yaml", "--inconclusive", "maybe"),
    ("check",),
    ("check", "spec.yaml", "--budget", "soon"),
    ("check", "spec.yaml", "--format", "junit"),
    ("show",),
    ("show", "nowhere"),
    ("compare", "nowhere"),
    ("compare", "nowhere", "nowhere"),
    ("gate", "nowhere"),
    ("selftest", "extra"),
    ("schema", "extra"),
    ("init", "a", "b"),
]


@pytest.mark.parametrize("words", USAGE, ids=" ".join)
def test_usage_errors_are_2_and_say_nothing_on_stdout(pipeline, tmp_path, monkeypatch, words):
    monkeypatch.chdir(tmp_path)
    result = call(*words)
    assert result.exit_code == 2
    assert result.stderr or not words
    assert not list(tmp_path.iterdir())
    if words and words[0] == "run":
        assert not pipeline.calls


def test_check_is_0_within_the_budget_and_2_over_it(pipeline):
    within = call("check", "spec.yaml", "--budget", "3m")
    assert within.exit_code == 0
    over = call("check", "spec.yaml", "--budget", "2m")
    assert over.exit_code == 2
    assert over.stdout == within.stdout
    assert "error: spec.yaml: the estimate of 2 min 54 s is over the budget of 2 min 0 s" in over.stderr


def test_selftest_is_2_when_a_known_answer_is_missed(pipeline):
    assert call("selftest").exit_code == 0
    pipeline.cases = CASES
    result = call("selftest")
    assert result.exit_code == 2
    assert "FAIL" in result.stdout
    assert "error: selftest failed: private toy" in result.stderr


@pytest.mark.parametrize("verb", ["show", "gate", "compare"])
def test_a_file_that_is_not_as_it_was_written_is_2(run_folder, verb):
    path = run_folder / "leakage.csv"
    path.write_text(path.read_text().replace(",898,attack-limited\n", ",899,attack-limited\n", 1))
    result = call(verb, run_folder, *([run_folder] if verb == "compare" else []))
    assert (result.exit_code, result.stdout) == (2, "")
    assert "leakage.csv is not as written with this manifest" in result.stderr
    assert "fetch or copy the run again" in result.stderr
    assert result.stderr.count("\n") == 1


def test_show_is_0_whatever_the_gates_said(run_folder):
    assert call("show", run_folder).exit_code == 0


def test_compare_is_0_however_much_worse(run_folder, tmp_path):
    worse = tmp_path / "worse"
    write_run(example_run(name="worse", scale=1.3), worse)
    result = call("compare", run_folder, worse)
    assert result.exit_code == 0
    assert "worse?" in result.stdout


@pytest.mark.parametrize(
    ("limit", "override", "code"),
    [
        ("3.5", None, 0),
        ("1.0", None, 1),
        ("2.45", None, 3),
        ("2.45", "pass", 0),
        ("2.45", "fail", 1),
        ("1.0", "pass", 1),
    ],
)
def test_gate(run_folder, limit, override, code):
    write_run(replace(example_run(), spec_text=SPEC_WITH_GATES % limit), run_folder)
    result = call("gate", run_folder, *(["--inconclusive", override] if override else []))
    assert result.exit_code == code
    outcome = {"3.5": "PASS", "1.0": "FAIL", "2.45": "INCONCLUSIVE"}[limit]
    assert f"gate  {outcome}" in result.stdout
    assert ("gate strict" in result.stderr) == (outcome != "PASS")


@pytest.mark.parametrize("text", ["", "gates: []", "gates: [{id: x}]", "gates: [", "- 1"])
def test_gate_without_readable_gates_is_2(run_folder, text):
    write_run(replace(example_run(), spec_text=text), run_folder)
    result = call("gate", run_folder)
    assert result.exit_code == 2
    assert "--spec SPEC" in result.stderr
    assert result.stderr.count("\n") == 1


def test_gate_on_an_increase_without_a_baseline_is_2(run_folder):
    gate = "gates: [{id: g, metric: identity.bits, view: dp, over: joint, max_increase: 1}]"
    write_run(replace(example_run(), spec_text=gate), run_folder)
    result = call("gate", run_folder)
    assert result.exit_code == 2
    assert "--baseline" in result.stderr


def test_a_failed_gate_is_on_stderr_with_its_advice_even_when_quiet(pipeline):
    run = example_run()
    pipeline.result = replace(pipeline.result, run=run, exit_code=1)
    result = call("run", "spec.yaml", "-q")
    assert result.exit_code == 1
    assert result.stdout == "FAIL: 1 of 3 gates failed: record-leak; undecided: members\n"
    assert result.stderr.splitlines() == [
        "gate record-leak FAILED: identity.bits <= 5, "
        "found 5.507 [5.203, 5.811] in view record, layer head.fc2, epoch 8",
        "  advice: view batch-32 stays at 2.2 <= 5 on the same layers",
        "gate members inconclusive: membership.auc <= 0.55, found 0.561 [0.538, 0.584] in view model, layer *, epoch 8",
        "  reason: 1 of 1 row may be above or below 0.55",
    ]


def test_no_gates_is_said(pipeline):
    pipeline.result = replace(pipeline.result, run=example_run(verdicts=()))
    assert call("run", "spec.yaml", "-q", "--no-gate").stdout == "NO GATES: nothing was asked to hold\n"
    assert pipeline.calls[-1][1]["gate"] is False


def test_gates_that_hold_are_not_on_stderr(pipeline):
    pipeline.result = replace(pipeline.result, run=example_run(verdicts=(verdict("g", "pass"),)))
    assert "gate" not in call("run", "spec.yaml").stderr
