"""A table that says what cannot be is refused, with the line and what is wrong."""

import math
import sys
from dataclasses import replace
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "report"))

from example_run import example_run

from ptaudit.errors import RunFolderError
from ptaudit.tables.folder import leakage_text, read_leakage, read_run, write_run
from ptaudit.tables.reading import problem

ROW = next(row for row in example_run().rows if row.measured and row.status == "ok" and row.value > 0.1)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"value": 99.0}, "value 99 is above hi"),
        ({"lo": ROW.hi + 1.0}, "is above value"),
        ({"ceiling": 0.0}, "is above ceiling 0"),
        ({"n": -1}, "n is -1"),
        ({"status": " inconclusive"}, "unknown status ' inconclusive'"),
        ({"status": "inconclusive"}, "unknown status 'inconclusive'"),
        ({"status": "fine"}, "unknown status 'fine'"),
    ],
)
def test_rows_that_cannot_be(tmp_path, changes, said):
    path = tmp_path / "leakage.csv"
    path.write_text(leakage_text([ROW, replace(ROW, epoch=99, **changes)]))
    with pytest.raises(RunFolderError) as caught:
        read_leakage(path)
    assert "leakage.csv:3: this row cannot be: " in str(caught.value)
    assert said in str(caught.value)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"ceiling": math.nan},
        {"hi": ROW.value, "lo": ROW.value},
        {"status": "inconclusive: too few", "value": math.nan, "lo": math.nan, "hi": math.nan},
        {"status": "not comparable: they differ", "value": 99.0},
        {"status": "not captured: no rule", "value": math.nan, "lo": math.nan, "hi": math.nan},
        {"value": -1.0, "lo": -2.0},
    ],
)
def test_rows_that_can(changes):
    assert problem(replace(ROW, **changes)) == ""


def test_a_column_that_stands_twice(tmp_path):
    path = tmp_path / "leakage.csv"
    lines = leakage_text([ROW]).splitlines()
    path.write_text("\n".join(f"{line},{more}" for line, more in zip(lines, ("value", "0"), strict=True)) + "\n")
    with pytest.raises(RunFolderError, match="column stands twice: value"):
        read_leakage(path)


def test_a_seed_that_is_gone(tmp_path):
    run = example_run()
    whole = replace(run, manifest={**run.manifest, "seeds": [0, 1]}, seeds=(run.rows, run.rows))
    write_run(whole, tmp_path)
    assert len(read_run(tmp_path).seeds) == 2
    (tmp_path / "seeds" / "1" / "leakage.csv").unlink()
    with pytest.raises(RunFolderError, match="the tables of seed 1 are missing"):
        read_run(tmp_path)
