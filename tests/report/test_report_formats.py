"""What every format promises, beyond how it looks: numbers of the table, one screen, valid files, no way to steer."""

from __future__ import annotations

import json
import math
import re
from dataclasses import replace
from xml.etree import ElementTree

import pytest
from example_run import EXAMPLE_CHECK, example_comparison, example_run, small_run, verdict

from ptaudit.errors import PtauditError
from ptaudit.report import FORMATS, Page, open_format
from ptaudit.spec.catalog import JOINT
from ptaudit.tables.row import COLUMNS, find
from ptaudit.tables.table import Table

TEXT_FORMATS = ("rich", "plain", "md")
INTERVAL = r"(-?[\d.]+) \[(-?[\d.]+), (-?[\d.]+)\]"


def render(name, run=None, **page):
    return open_format(name).render(run or example_run(), replace(Page(), **page))


def test_an_unknown_format_is_an_error_that_lists_the_known_ones():
    with pytest.raises(PtauditError, match="rich, plain, md, html, json, csv, junit, sarif, github"):
        open_format("pdf")


def test_plain_joint_lines_hold_the_numbers_of_the_table():
    run = example_run()
    lines = [line.split() for line in render("plain", run).splitlines() if line.startswith("joint")]
    seen = set()
    for _, view, score, adversary, *_ in lines:
        game, metric = score.split(".")
        line = next(line for line in lines if line[1:3] == [view, score])
        row = find(run.rows, epoch=8, layer=JOINT, view=view, game=game, metric=metric, adversary=adversary)[0]
        seen.add((view, game, metric))
        if math.isnan(row.value):
            assert "inconclusive" in line
            continue
        value, lo, hi = map(float, re.search(INTERVAL, " ".join(line)).groups())
        assert (value, lo, hi) == pytest.approx((row.value, row.lo, row.hi), abs=0.006)
        assert f"of {row.ceiling:.2f}" in " ".join(line)
        floor = row.null if metric == "auc" else 0.0
        assert f"{100 * (row.value - floor) / (row.ceiling - floor):.0f} %" in " ".join(line)
    wanted = {(r.view, r.game, r.metric) for r in run.rows if r.layer == JOINT and r.metric in ("bits", "auc")}
    assert seen == wanted


def test_markdown_has_every_layer_of_every_view_with_the_numbers_of_the_table():
    run = example_run()
    text = render("md", run)
    for view in ("record", "batch-8", "batch-32", "dp"):
        section = text.split(f"## Layers: identity bits in view {view}\n")[1].split("\n## ")[0]
        rows = {line.split(" | ")[0].strip("| "): line for line in section.splitlines() if line.startswith("| ")}
        for row in find(run.rows, epoch=8, view=view, game="identity", metric="bits"):
            if row.layer != JOINT:
                last = re.findall(INTERVAL, rows[row.layer])[1]
                assert tuple(map(float, last)) == pytest.approx((row.value, row.lo, row.hi), abs=0.006)


def test_json_rows_equal_the_table_and_hold_no_nan():
    run = small_run()
    content = json.loads(render("json", run), parse_constant=lambda word: pytest.fail(f"{word} in JSON"))
    assert len(content["rows"]) == len(run.rows)
    for found, row in zip(content["rows"], run.rows, strict=True):
        for column in COLUMNS:
            wanted = getattr(row, column)
            assert found[column] == (None if isinstance(wanted, float) and math.isnan(wanted) else wanted)
    assert [gate["outcome"] for gate in content["gates"]] == ["pass", "fail", "inconclusive"]


@pytest.mark.parametrize(("layers", "gates"), [(5, 3), (20, 3), (20, 0)])
def test_the_terminal_summary_fits_a_screen(layers, gates):
    run = example_run(layers=layers)
    text = render("rich", replace(run, verdicts=run.verdicts[:gates]))
    lines = text.splitlines()
    assert len(lines) <= 64
    assert max(map(len, lines)) <= 100
    if layers == 20:
        assert re.search(r"… and \d+ more layers: ptaudit show runs/digits-lenet --format md", text)


def test_the_cut_layer_table_counts_every_layer():
    run = example_run(layers=20)
    lines = render("plain", run).splitlines()
    shown = sum(line.startswith("layer ") for line in lines)
    hidden = int(re.search(r"… and (\d+) more layers", "\n".join(lines)).group(1))
    assert shown + hidden == 20


@pytest.mark.parametrize("width", [60, 72, 80, 100, 140])
def test_numbers_are_never_broken_however_narrow_the_page(width):
    run = example_run()
    text = render("rich", run, width=width)
    for row in find(run.rows, epoch=8, layer=JOINT, metric="bits"):
        if not math.isnan(row.value) and row.game == "identity":
            digits = 2 if row.hi >= 0.1 else 3
            assert f"{row.value:.{digits}f} [{row.lo:.{digits}f}, {row.hi:.{digits}f}]" in text


@pytest.mark.parametrize("name", ["rich", "plain"])
@pytest.mark.parametrize("layers", [5, 20])
def test_ascii_is_ascii_and_as_wide_as_unicode(name, layers):
    run = example_run(layers=layers)
    text = render(name, run, unicode=False)
    assert text.isascii()
    rows = [(a, b) for a, b in zip(text.splitlines(), render(name, run).splitlines(), strict=True)]
    assert all(len(a) == len(b) for a, b in rows if "[" in b)


def test_colour_only_where_the_page_has_it():
    assert "\x1b[" in render("rich", color=True)
    for name in FORMATS:
        assert "\x1b" not in render(name)
    assert "\x1b" not in open_format("plain").render(example_run(), Page(color=True))


def test_colours_change_nothing_but_the_heat_strip():
    plain = render("rich").splitlines()
    coloured = re.sub(r"\x1b\[[\d;]*m", "", render("rich", color=True)).splitlines()
    assert len(plain) == len(coloured)
    for a, b in zip(plain, coloured, strict=True):
        assert re.sub("[·░▒▓█]", "", a).split() == b.split()


@pytest.mark.parametrize("name", TEXT_FORMATS)
def test_control_characters_of_a_table_do_not_reach_the_terminal(name):
    run = example_run()
    rows = tuple(replace(r, layer="\x1b[2Jevil\nlayer" if r.layer == "head.fc2" else r.layer) for r in run.rows)
    text = render(name, replace(run, rows=Table.of(rows), verdicts=()))
    assert "evil" in text
    assert "\x1b" not in text
    assert not [
        line
        for line in text.splitlines()
        if line.startswith("layer") and "evil" not in line and "[" not in line and "layer " not in line
    ]


def test_sections_without_content_are_left_out():
    run = replace(example_run(verdicts=()), timings={}, spec_text="", epochs=(), manifest={})
    text = render("plain", run)
    assert not re.search("^(gate|time|training|adversary)", text, re.MULTILINE)
    assert "NO GATES" in text


@pytest.mark.parametrize("name", FORMATS)
def test_a_run_with_an_empty_table_can_be_shown(name):
    run = replace(
        example_run(verdicts=()), rows=Table.of([]), layers=(), epochs=(), manifest={}, timings={}, spec_text=""
    )
    assert render(name, run).strip()


class TestJUnit:
    def parse(self, *verdicts, inconclusive=None):
        text = render("junit", example_run(verdicts=verdicts), inconclusive=inconclusive)
        return ElementTree.fromstring(text.encode()).find("testsuite")

    @pytest.mark.parametrize(
        ("outcome", "inconclusive", "children"),
        [
            ("pass", None, []),
            ("fail", None, ["failure"]),
            ("fail", "pass", ["failure"]),
            ("inconclusive", None, ["skipped"]),
            ("inconclusive", "fail", ["failure"]),
            ("inconclusive", "pass", []),
        ],
    )
    def test_outcomes(self, outcome, inconclusive, children):
        suite = self.parse(verdict("g", outcome), inconclusive=inconclusive)
        assert [child.tag for child in suite[0] if child.tag != "system-out"] == children
        assert (suite.get("tests"), suite.get("failures"), suite.get("skipped")) == (
            "1",
            str(children.count("failure")),
            str(children.count("skipped")),
        )

    def test_hostile_text_stays_text(self):
        text = 'a<b>&"c\x00\x1b\ud800]]>'
        suite = self.parse(verdict(text, "fail", reason=text, advice=text))
        assert suite[0].get("name") == 'a<b>&"c\\x00\\x1b\\ud800]]>'
        assert suite[0].find("failure").text == 'a<b>&"c\\x00\\x1b\\ud800]]>'

    def test_comparisons_and_checks_are_refused(self):
        junit = open_format("junit")
        for call in (lambda: junit.render(example_comparison()), lambda: junit.render(EXAMPLE_CHECK)):
            with pytest.raises(PtauditError, match="junit reports gates"):
                call()


def test_markdown_tables_are_rectangular_even_with_bars_in_names():
    run = example_run()
    rows = tuple(replace(row, layer="a|b" if row.layer == "norm" else row.layer) for row in run.rows)
    text = render("md", replace(run, rows=Table.of(rows)))
    assert r"a\|b" in text
    for table in re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE):
        widths = {len(re.findall(r"(?<!\\)\|", line)) for line in table.splitlines()}
        assert len(widths) == 1


@pytest.mark.parametrize("name", TEXT_FORMATS)
def test_a_comparison_lists_changed_rows_and_all_when_asked(name):
    some = open_format(name).render(example_comparison(), Page())
    every = open_format(name).render(example_comparison(), Page(all_rows=True))
    assert "head.fc1" not in some
    assert "head.fc1" in every
    assert "0.85 [0.51, 1.19]" in some
    assert some.index("head.fc2") < some.index("features.conv1")
    assert "not in no-dropout" in some
