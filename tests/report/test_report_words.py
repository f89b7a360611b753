from __future__ import annotations

import math

import pytest

from ptaudit.report.document import Cell, Column, Grid, fit_to_width, natural_widths
from ptaudit.report.words import (
    adversary_text,
    bounds_text,
    duration,
    number,
    shades,
    shorten,
    size,
    sparkline,
    thin,
    view_text,
)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.04, "0.0 s"),
        (9.94, "9.9 s"),
        (9.96, "10 s"),
        (119.4, "119 s"),
        (120, "2 min 0 s"),
        (7199.4, "119 min 59 s"),
        (7200, "2 h 0 min"),
        (math.nan, "-"),
    ],
)
def test_durations(seconds, text):
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("amount", "text"), [(100, "100 B"), (2048, "2 KiB"), (268_435_456, "256 MiB"), (3 * 2**30, "3.0 GiB")]
)
def test_sizes(amount, text):
    assert size(amount) == text


def test_numbers_have_no_negative_zero_and_no_nan():
    assert number(-0.001) == "0.00"
    assert number(-0.126) == "-0.13"
    assert number(math.nan) == number(math.inf) == "-"
    assert bounds_text(math.nan, math.nan, math.nan) == "-"


def test_marks_run_from_zero_to_the_ceiling():
    shares = (0.0, 0.25, 0.5, 0.7, 1.0, None)
    assert sparkline(shares) == "▁▂▃▅▇?"
    assert sparkline(shares, unicode=False) == "_.-=#?"
    assert shades(shares) == "0 2 5 7 9 ? "
    assert shades(shares * 3) == "02579?" * 3


def test_long_series_keep_their_maxima():
    shares = [0.0] * 100
    shares[57] = 0.9
    marks = thin(shares)
    assert len(marks) <= 24
    assert max(marks) == 0.9
    assert marks[57 // 5] == 0.9


@pytest.mark.parametrize("room", [5, 12, 19])
def test_names_are_cut_in_their_middle(room):
    name = "layer4.1.downsample.0"
    cut = shorten(name, room)
    assert len(cut) == room
    assert cut.startswith(name[:2])
    assert cut.endswith(name[-2:])
    assert shorten(name, 21) == name


GRID = Grid(
    "x",
    "",
    (Column("layer", elastic=20), Column("bits", right=True), Column("type", minor=1), Column("parameters", minor=2)),
    ((Cell("a" * 30), Cell("1.23 [1.00, 1.50]"), Cell("Linear"), Cell("12,345")),),
)


@pytest.mark.parametrize(
    ("width", "titles", "name"),
    [
        (100, ["layer", "bits", "type", "parameters"], 30),
        (66, ["layer", "bits", "type", "parameters"], 27),
        (55, ["layer", "bits", "type"], 28),
        (40, ["layer", "bits"], 21),
        (30, ["layer", "bits"], 12),
    ],
)
def test_a_narrow_page_shortens_names_then_drops_columns_never_numbers(width, titles, name):
    fitted = fit_to_width(GRID, width)
    assert [column.title for column in fitted.columns] == titles
    assert natural_widths(fitted)[0] == name
    assert fitted.rows[0][1].text == "1.23 [1.00, 1.50]"


def test_what_is_unusual_about_an_adversary_or_a_view_is_said():
    assert adversary_text("linear", "adaptive", "none") == "linear"
    assert adversary_text("linear", "static", "none") == "linear (static)"
    assert adversary_text("linear", "late", "rest") == "linear (late, knows rest)"
    assert view_text("batch-8", "none") == "batch-8"
    assert view_text("batch-8", "prune-0.9") == "batch-8 (with prune-0.9)"
