from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "report"))

from example_run import CASES, EXAMPLE_CHECK, example_run

from ptaudit.tables.folder import write_run


@dataclass
class FakeResult:
    """What an audit returns, as far as the command line looks."""

    run: object
    path: Path
    exit_code: int


class FakePipeline(ModuleType):
    """Stands in for `ptaudit.auditing` and `ptaudit.selftest`, so that the command line is tested without torch."""

    def __init__(self):
        super().__init__("ptaudit.auditing")
        self.calls = []
        self.result = FakeResult(example_run(verdicts=example_run().verdicts[:1]), Path("runs/digits-lenet"), 0)
        self.error = None
        self.report = EXAMPLE_CHECK
        self.cases = CASES[:1]

    def audit(self, spec, **options):
        self.calls.append((spec, options))
        with options["progress"].task("epoch 1", total=2) as task:
            task.advance(2, note="loss 0.5")
        options["progress"].log("epoch 1: loss 0.5")
        self._maybe_fail()
        return self.result

    def check(self, spec, **options):
        self.calls.append((spec, options))
        self._maybe_fail()
        return self.report

    def run(self, progress):
        self._maybe_fail()
        return list(self.cases)

    def _maybe_fail(self):
        if self.error is not None:
            raise self.error


@pytest.fixture
def pipeline(monkeypatch):
    fake = FakePipeline()
    monkeypatch.setitem(sys.modules, "ptaudit.auditing", fake)
    monkeypatch.setitem(sys.modules, "ptaudit.selftest", fake)
    return fake


@pytest.fixture
def run_folder(tmp_path):
    folder = tmp_path / "runs" / "digits-lenet"
    write_run(example_run(), folder)
    return folder
