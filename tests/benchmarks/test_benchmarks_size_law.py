"""The law of data-set size from tables of runs: a power law is found, and what is no law is said."""

from __future__ import annotations

import sys
from pathlib import Path

import pandas as pd
import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))

from size_law import METRIC, advantage, examples_per_class, told

from ptaudit.stats.dynamics.size_law import size_law


def leakage(value, half=0.01, status="ok"):
    """Two epochs; rows of another attack and metric."""
    ends = {"value": value, "lo": value - half, "hi": value + half, "n": 100, "status": status}
    row = {"layer": "*", "adversary": "bavaria-online", "metric": METRIC, **ends}
    return pd.DataFrame(
        [{**row, "epoch": 5, "value": 0.9}, {**row, "epoch": 30}, {**row, "epoch": 40, "metric": "auc"},
         {**row, "epoch": 40, "adversary": "loss"}]
    )  # fmt: skip


def test_a_power_law_is_found_from_the_rows_of_the_last_epoch():
    sizes = [10.0, 20.0, 40.0, 80.0]
    advantages = [advantage(leakage(size**-0.5 + 0.01), "bavaria-online") for size in sizes]
    assert [one.value for one in advantages] == pytest.approx([size**-0.5 for size in sizes])
    law = size_law(sizes, advantages)
    assert law.slope.value == pytest.approx(-0.5)
    assert "Slope -0.50 [" in told(sizes, advantages, law)


def test_no_leak_and_no_row_are_said():
    sizes = [10.0, 20.0, 40.0]
    advantages = [advantage(leakage(value), "bavaria-online") for value in (0.3, 0.2, 0.005)]
    text = told(sizes, advantages, size_law(sizes, advantages))
    assert "No slope: inconclusive: the advantage at 40 examples is -0.005, and has no logarithm" in text
    few = advantage(leakage(0.2, status="inconclusive: needs 4 reference models"), "bavaria-online")
    assert few.status == "inconclusive: needs 4 reference models"
    assert "needs 4 reference models" in told([10.0], [few], size_law(sizes, [*advantages[:2], few]))
    with pytest.raises(ValueError, match="needs a fleet"):
        advantage(leakage(0.2), "lira-online")


def test_examples_per_class_are_those_of_the_audited_model():
    spec = Path(__file__).parents[2] / "configs" / "quickstart.yaml"
    assert examples_per_class(spec, ["data.limit=400"]) == pytest.approx(20.0)
