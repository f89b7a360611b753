"""What the benchmark of mutual information says about its rows."""

from __future__ import annotations

import json
import sys
from argparse import Namespace
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))

import mi
from mi_samplers import TASKS
from mi_tables import page

from ptaudit.estimate import mutual_information

BY_NAME = {task.name: task for task in TASKS}


def planted(name, estimator, value, critic="", seed=0, half=0.02, ceiling=None, status="ok"):
    task = BY_NAME[name]
    lo, hi = (None, None) if value is None or half is None else (value - half, value + half)
    return {
        "task": name,
        "dims": task.dims,
        "truth_bits": task.bits,
        "n": 10_000,
        "estimator": estimator,
        "critic": critic,
        "seed": seed,
        "value": value,
        "lo": lo,
        "hi": hi,
        "null": 0.0,
        "ceiling": ceiling,
        "status": status,
        "error_bits": None if value is None else value - task.bits,
        "covered": None if lo is None else lo <= task.bits <= hi,
        "seconds": 1.0,
    }


def verdicts(*rows):
    """Word of each target, by how its line begins."""
    lines = [line for line in page(rows, TASKS).splitlines() if line.startswith("- **")]
    return {line.split("**: ")[1]: line.split("**")[1] for line in lines}


def verdict(begins, *rows):
    [found] = [word for text, word in verdicts(*rows).items() if text.startswith(begins)]
    return found


@pytest.mark.parametrize(("errors", "word"), [((0.08, 0.0), "met"), ((0.08, 0.06), "missed"), ((None, 0.0), "missed")])
def test_ksg_is_judged_on_its_mean_over_seeds(errors, word):
    truth = BY_NAME["normal-1x1"].bits
    values = [None if e is None else truth + e for e in errors]
    rows = [planted("normal-1x1", "ksg", value, seed=seed) for seed, value in enumerate(values)]
    assert verdict("ksg within 0.05", *rows) == word


@pytest.mark.parametrize(("value", "word"), [(0.604, "met"), (0.61, "missed")])
def test_ksg_beside_scikit_learn(value, word):
    rows = [planted("normal-1x1", "ksg raw", value), planted("normal-1x1", "scikit-learn", 0.6, half=None)]
    assert verdict("ksg raw within 1 %", *rows) == word


@pytest.mark.parametrize(("share", "word"), [(0.96, "met"), (1.06, "missed")])
def test_gaussian_on_normal_tasks_only(share, word):
    rows = [
        planted("normal-1x1", "gaussian", share * BY_NAME["normal-1x1"].bits),
        planted("student-1-1x1", "gaussian", 0.1),
    ]
    assert verdict("gaussian within 5 %", *rows) == word


def test_infonce_is_judged_under_half_of_its_ceiling_only():
    near = planted("noise-0.1-1x1", "infonce", 1.0, "joint", ceiling=3.0)
    assert not any(text.startswith("infonce, joint") for text in verdicts(near))
    assert verdict("infonce, joint", planted("noise-0.1-1x1", "infonce", 1.0, "joint", ceiling=9.0)) == "missed"
    assert verdict("infonce, joint", planted("noise-0.1-1x1", "infonce", 2.4, "joint", ceiling=9.0)) == "met"


@pytest.mark.parametrize(("above", "word"), [(1, "met"), (2, "missed")])
def test_one_in_twenty_may_be_above_the_truth(above, word):
    truth = BY_NAME["normal-1x1"].bits
    rows = [planted("normal-1x1", "nwj", truth + (0.03 if i < above else -0.3), "joint", seed=i) for i in range(20)]
    assert verdict("nwj joint", *rows) == word


def test_independence_and_the_list_of_misses():
    row = planted("independent-normal-1x1", "mine", 0.05, "joint")
    assert verdict("mine joint: 0 within", row) == "missed"
    assert "independent-normal-1x1, mine joint, seed 0: 0.050 (0.030 to 0.070), truth 0.000" in page([row], TASKS)


def test_no_answer_is_counted_and_no_number():
    row = planted("normal-1x1", "ksg", None, status="inconclusive: no")
    text = page([row], TASKS)
    assert "no value, truth 0.596, inconclusive: no" in text
    assert "| normal-1x1 | 0.596 | – |" in text


def test_rows_of_scikit_learn_and_resuming(tmp_path):
    options = Namespace(quick=True, estimators=["scikit-learn"])
    [unit] = mi._units([BY_NAME["normal-1x1"]], (500,), options)
    rows = mi._rows(unit)
    assert abs(rows[0]["error_bits"]) < 0.2
    assert rows[0]["covered"] is None
    mi._write(tmp_path / "rows.json", rows)
    assert unit.missing([])
    assert not unit.missing(json.loads((tmp_path / "rows.json").read_text(encoding="utf-8")))


def test_a_row_is_what_the_public_face_gives():
    task = BY_NAME["normal-1x1"]
    [row] = mi._rows(mi.Unit("infonce", "separable", 200, 3, (task.name,)))
    found = mutual_information(*mi._draw(task, 200, 3), estimator="infonce", seed=3, critic="separable")
    assert (row["value"], row["lo"], row["hi"]) == (found.value, found.lo, found.hi)
    assert row["ceiling"] == found.ceiling
