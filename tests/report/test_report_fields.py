"""Fields of rebuilt rows: shares of the kept records, beside what a guess gets, by the best attack of a view."""

from __future__ import annotations

import pandas as pd
import pytest
from example_run import example_run
from special_runs import pictured_run

from ptaudit.report import Page, open_format
from ptaudit.report.fields import field_grid, field_lines
from ptaudit.spec.catalog import FIELD, GUESSED_FIELD
from ptaudit.tables.samples import COLUMNS


def kept(scores: dict[tuple[str, str], list[float]], epoch: int = 1, game: str = "reconstruction") -> pd.DataFrame:
    """By (view and attack, field): whether it was recovered of each record; a guess is right of every fourth."""
    lines = [
        (0, epoch, f"r{k}", "*", game, f"{place}{what}{field}", value)
        for (place, field), values in scores.items()
        for k, right in enumerate(values)
        for what, value in ((FIELD, right), (GUESSED_FIELD, float(k % 4 == 0)))
    ]
    return pd.DataFrame(lines, columns=list(COLUMNS))


def test_shares_are_means_over_records_and_what_comes_back_most_comes_first():
    records = kept({("v/a", "age"): [1, 0, 0, 0] * 10, ("v/a", "a/b field x"): [1] * 40})
    first, second = field_lines(records)
    assert (first.field, first.right.value, first.right.null, first.above.value) == ("a/b field x", 1.0, 0.25, 0.75)
    assert (second.field, second.right.value, second.above.value) == ("age", 0.25, 0.0)
    assert first.right.lo < 1.0
    assert second.above.lo <= 0.0 < first.above.lo
    assert first.right.n == 40


def test_the_best_attack_of_a_view_speaks_at_the_last_epoch():
    early = kept({("v/weak", "age"): [1, 1]}, epoch=0)
    late = kept({("v/weak", "age"): [0, 0], ("v/strong", "age"): [1, 1], ("w/weak", "age"): [0, 1]})
    lines = field_lines(pd.concat([early, late], ignore_index=True))
    assert [(line.view, line.attack, line.right.value) for line in lines] == [("v", "strong", 1.0), ("w", "weak", 0.5)]


def test_without_a_guess_to_compare_with_nothing_is_told():
    records = kept({("v/a", "age"): [1, 1]})
    assert not field_grid(records[~records.metric.str.contains("guessed")]).rows
    assert not field_grid(records.iloc[:0]).rows


def test_more_fields_than_fit_are_counted():
    grid = field_grid(kept({("v/a", f"pixel{k}"): [1, 1, 0] for k in range(64)}))
    assert len(grid.rows) == 40
    assert grid.more == "… and 24 more in samples.csv"


@pytest.mark.parametrize("name", ["md", "html"])
def test_reports_have_them_only_where_records_were_kept(tmp_path, name):
    run = pictured_run(tmp_path)
    text = open_format(name).render(run, Page(kept=tmp_path))
    assert "Which fields of a record come back" in text
    assert "0.75 [" in text.partition("Which fields")[2]
    assert "Which fields" not in open_format(name).render(example_run(), Page())
