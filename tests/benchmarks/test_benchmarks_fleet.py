from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))

import fleet


def test_a_case_is_timed_both_ways():
    row = fleet.measured("adult-16", models=8, steps=2, rounds=3, device=torch.device("cpu"))
    assert row["at_once"] in (8, 4, 2)
    assert row["ratio_q1"] <= row["ratio"] <= row["ratio_q3"]
    assert min(row["seconds_alone"], row["seconds_stacked"]) > 0
    assert 0.5 * row["memory_mib"] < row["estimate_mib"] < 3 * row["memory_mib"]


@pytest.mark.parametrize("name", fleet.CASES)
def test_every_model_runs_as_one_program(name):
    context = fleet.CASES[name].context(1, torch.device("cpu"))
    assert fleet.why_not_stacked(context) == ""
