from __future__ import annotations

from pathlib import Path

import pytest
from audit_case import call, write_spec
from fault_case import SHORT


@pytest.fixture(scope="session")
def whole(tmp_path_factory) -> Path:
    """The folder of a run of the base spec, by the command line; `spec.yaml` lies beside it."""
    home = tmp_path_factory.mktemp("whole")
    result = call("run", write_spec(home), "--out", home / "run")
    assert result.exit_code == 0, result.output
    return home / "run"


@pytest.fixture(scope="session")
def home(tmp_path_factory):
    """A folder with a spec, `spec.yaml`, and the run of it that nobody disturbed, `undisturbed`."""
    folder = tmp_path_factory.mktemp("faults")
    assert call("run", write_spec(folder, **SHORT), "--out", folder / "undisturbed", "-q").exit_code == 0
    return folder
