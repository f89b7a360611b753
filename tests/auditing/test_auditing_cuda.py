"""The same spec on CPU and CUDA: the tables agree within a tolerance; runs where there is a CUDA device."""

from __future__ import annotations

import pytest
import torch
from audit_case import call, write_spec

from ptaudit.tables.folder import read_run

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")]

BEFORE_TRAINING = 0.02
"""Share of the ceiling: the same weights, tokens that differ by rounding (TF32 convolutions included)."""


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    home = tmp_path_factory.mktemp("devices")
    spec = write_spec(home)
    for device in ("cpu", "cuda"):
        result = call("run", spec, "--out", home / device, "--device", device)
        assert result.exit_code == 0, result.output
    keyed = [
        {(r.epoch, r.layer, r.view, r.game, r.adversary, r.metric): r for r in read_run(home / device).rows}
        for device in ("cpu", "cuda")
    ]
    assert keyed[0].keys() == keyed[1].keys()
    return [(cpu, keyed[1][key]) for key, cpu in keyed[0].items()]


def test_before_training_the_values_agree(both):
    for cpu, cuda in both:
        if cpu.epoch == 0 and cpu.measured:
            assert cuda.value == pytest.approx(cpu.value, abs=BEFORE_TRAINING * cpu.ceiling), (cpu, cuda)


def test_after_training_the_intervals_meet(both):
    """Rounding is amplified by training, so weights differ; what they leak must not, beyond the noise of one run."""
    measured = [(cpu, cuda) for cpu, cuda in both if cpu.measured]
    apart = [(cpu, cuda) for cpu, cuda in measured if max(cpu.lo, cuda.lo) > min(cpu.hi, cuda.hi)]
    assert len(apart) <= 0.05 * len(measured), apart


def test_what_could_not_be_measured_is_the_same(both):
    assert [cpu.status for cpu, _ in both if not cpu.measured] == [
        cuda.status for cpu, cuda in both if not cpu.measured
    ]
