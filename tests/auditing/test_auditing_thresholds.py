"""The gates are fixed when a run begins: their digest stays as it was, whatever becomes of the spec."""

from __future__ import annotations

import pytest

from ptaudit.auditing import thresholds
from ptaudit.errors import RunFolderError
from ptaudit.tables.spec import gates_digest

SPEC = "name: a\ngates: [{id: g, metric: identity.bits, view: record, max: 1.0}]\n"


def test_the_digest_is_that_of_the_run_as_it_was_begun(tmp_path):
    begun = thresholds.fix(tmp_path, SPEC, "2026-01-01T00:00:00+00:00")
    assert begun == {"fixed": "2026-01-01T00:00:00+00:00", "sha256": gates_digest(SPEC)}
    resumed = thresholds.fix(tmp_path, SPEC.replace("max: 1.0", "max: 2.0"), "2026-01-02T00:00:00+00:00")
    assert resumed == begun


def test_the_digest_is_of_the_gates_alone():
    assert gates_digest(SPEC) == gates_digest(SPEC.replace("name: a", "name: b"))
    assert gates_digest(SPEC) != gates_digest(SPEC.replace("max: 1.0", "max: 1.5"))
    assert gates_digest("name: a\n") == gates_digest("gates: []\n")


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"fixed": 1}'])
def test_a_damaged_file_is_refused(tmp_path, text):
    (tmp_path / "thresholds.json").write_text(text)
    with pytest.raises(RunFolderError):
        thresholds.fix(tmp_path, SPEC, "now")
