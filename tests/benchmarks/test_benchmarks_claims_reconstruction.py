"""Cheap numbers and attacks are joined on the same case, and the ceiling is kept out of correlations."""

from __future__ import annotations

import sys
from pathlib import Path

import pandas as pd
import pytest
import yaml

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))

from claims_reconstruction import findings, joined, working
from claims_reconstruction_specs import specs

from ptaudit.spec.load import load

ATTACK = ("content", "linear", "psnr_gain_db")


def row(view, game, metric, value, ceiling=8.0, adversary="linear"):
    case = {"data": "d", "epoch": 0, "layer": "fc1", "view": view}
    return {
        **case,
        "game": game,
        "adversary": adversary,
        "metric": metric,
        "value": value,
        "lo": value - 0.5,
        "null": 0.0,
        "ceiling": ceiling,
    }


def leakage(views):
    bits = [row(view, "identity", "bits", bits, adversary="combined") for view, bits, _ in views]
    return pd.DataFrame(bits + [row(view, *ATTACK[::2], gain, None) for view, _, gain in views])


def test_a_case_is_a_layer_of_a_view_and_says_its_batch_size():
    cases = joined(leakage([("plain-m1", 8.0, 9.0), ("noise-0.1-m16", 2.0, 1.0)]), "identity bits", ATTACK)
    by_view = cases.set_index("view")
    assert by_view.measure.to_dict() == {"plain-m1": 8.0, "noise-0.1-m16": 2.0}
    assert by_view.success.to_dict() == {"plain-m1": 9.0, "noise-0.1-m16": 1.0}
    assert by_view.m.to_dict() == {"plain-m1": 1.0, "noise-0.1-m16": 16.0}
    assert by_view.ceiling.to_dict() == {"plain-m1": True, "noise-0.1-m16": False}


def test_cases_at_the_ceiling_are_counted_and_enter_no_correlation():
    views = [(f"v{i}-m1", float(i), float(i + 1)) for i in range(5)]
    found = next(iter(findings(leakage([*views, ("top-m1", 8.0, -9.0)]))))
    assert (found.n, found.ceiling) == (5, 1)
    assert found.across == pytest.approx(1)


def test_an_attack_that_finds_nothing_anywhere_is_not_ranked():
    assert working(leakage([(f"v{i}-m1", float(i), i / 10) for i in range(5)])) == []
    assert working(leakage([(f"v{i}-m1", float(i), 3.0) for i in range(5)])) == [ATTACK]


@pytest.mark.parametrize("name", sorted(specs(Path("data"))))
@pytest.mark.parametrize("quick", [False, True])
def test_specs_are_what_ptaudit_reads(name, quick, tmp_path):
    path = tmp_path / "spec.yaml"
    path.write_text(yaml.safe_dump(specs(tmp_path, quick)[name]))
    assert load(path).name == name
