"""The page for people: whole, in one file, in order, and harmless whatever layers and views are called."""

from __future__ import annotations

import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest
from example_run import CASES, EXAMPLE_CHECK, example_comparison, example_run, leaking_run
from special_runs import big_run, hostile_run

from ptaudit.report import Gates, Page, open_format
from ptaudit.report.answer import answers
from ptaudit.report.html.chain import MOST_BLOCKS, grouped
from ptaudit.report.html.heat import heat_maps
from ptaudit.report.html.margins import distance
from ptaudit.report.html.pictures import inline, kept_pictures
from ptaudit.report.words import interval_text, share
from ptaudit.tables.row import find
from ptaudit.tables.run import LayerEntry
from ptaudit.tables.table import Table

ALWAYS = ["answer", "change", "threat", "map", "epochs", "model", "gates", "time", "limits", "again", "numbers"]
VOID = {"meta", "img", "br", "link", "input"}


class Tree(HTMLParser):
    """Tags with their attributes, the text, and whether every tag is closed by its own."""

    def __init__(self, text):
        super().__init__(convert_charrefs=True)
        self.open, self.tags, self.texts = [], [], []
        self.feed(text)
        self.close()
        assert not self.open

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.texts.append(data)

    def of(self, tag):
        return [attrs for name, attrs in self.tags if name == tag]


def page(subject=None, **options):
    return open_format("html").render(subject or example_run(), Page(**options))


def test_every_section_is_there_in_order_and_has_a_heading_and_a_link():
    tree = Tree(page())
    sections = [attrs["id"] for attrs in tree.of("section")]
    assert [name for name in sections if name in ALWAYS] == ALWAYS
    assert [attrs["href"] for attrs in tree.of("a")][1:] == [f"#{name}" for name in sections]
    ids = [attrs["id"] for _, attrs in tree.tags if "id" in attrs]
    assert len(ids) == len(set(ids))
    assert {attrs["aria-labelledby"] for attrs in tree.of("section")} <= set(ids)


def test_the_answer_comes_first():
    run = example_run()
    text = page(run)
    main = text[text.index("<main") :]
    first = re.search(r'<p class="answer strong">(.*?)</p>', main)
    assert first[1].replace("\u00a0", " ") == answers(run)[0].text
    assert main.index(first[0]) < main.index("FAIL: 1 of 3 gates failed")


@pytest.mark.parametrize("run", [example_run, leaking_run])
def test_nothing_is_fetched_and_nothing_runs(run):
    tree = Tree(page(run()))
    tags = {name for name, _ in tree.tags}
    assert tags.isdisjoint({"script", "link", "iframe", "object", "embed", "form", "base"})
    for _, attrs in tree.tags:
        assert not [name for name in attrs if name.startswith("on")]
        for name in ("src", "href", "xlink:href", "srcset", "action"):
            assert attrs.get(name, "#").startswith(("#", "data:image/png;base64,"))
    assert "http" not in page(run()).replace("http-equiv", "")
    assert "@import" not in page(run())
    assert "default-src 'none'" in page(run())


@pytest.mark.parametrize("subject", [Gates(example_run()), example_comparison(), EXAMPLE_CHECK, CASES])
def test_what_is_no_run_is_a_page_too(subject):
    text = page(subject)
    assert Tree(text).of("section")
    assert "http" not in text.replace("http-equiv", "")


def test_names_are_text_and_nothing_else():
    text = page(hostile_run())
    tree, usual = Tree(text), Tree(page())
    assert not tree.of("script")
    assert not tree.of("img")
    assert {name for name, _ in tree.tags} == {name for name, _ in usual.tags}
    assert not any(attrs.keys() & {"onerror", "onload"} for _, attrs in tree.tags)
    assert "\x1b" not in text
    assert "\u202e" not in text
    assert "{{ 7*7 }}" in text
    assert "alert(1)" in "".join(tree.texts)


def test_the_same_tables_make_the_same_bytes():
    assert page() == page()


def test_a_heat_map_has_the_numbers_of_the_table():
    run = example_run()
    maps, left_out = heat_maps(run)
    assert not left_out
    found = next(one for one in maps if one.title == "identity.bits in view batch-8")
    assert found.epochs == ("0", "1", "2", "4", "8")
    (row,) = find(run.rows, layer="head.fc1", view="batch-8", game="identity", metric="bits", epoch=4)
    line = next(line for line in found.rows if line.layer == "head.fc1")
    assert line.cells[3].text == f"{100 * share(row):.0f}"
    for part in (interval_text(row), "null 0.004", f"ceiling {row.ceiling:.2f}", f"detectable {row.detectable:.3f}"):
        assert part in line.cells[3].title
    assert found.rows[0].layer == "all layers jointly"


def test_what_could_not_be_measured_is_a_question_mark_with_its_reason():
    run, nan, why = example_run(), float("nan"), "inconclusive: too few records"
    place = {"layer": "head.fc1", "view": "batch-8", "game": "identity", "metric": "bits", "epoch": 4}
    (row,) = find(run.rows, **place)
    lost = replace(row, value=nan, lo=nan, hi=nan, null=nan, detectable=nan, status=why)
    rows = Table.of([lost if one == row else one for one in run.rows])
    maps, _ = heat_maps(replace(run, rows=rows))
    found = next(one for one in maps if one.title == "identity.bits in view batch-8")
    cell = next(line for line in found.rows if line.layer == "head.fc1").cells[3]
    assert (cell.text, cell.level, cell.title) == ("?", "none", why)


def test_a_page_of_100_layers_and_20_epochs_is_below_5_mb():
    run = big_run()
    assert len(heat_maps(run)[0][0].rows) == 101
    assert 500_000 < len(page(run).encode()) < 5_000_000


def test_blocks_are_few_and_keep_every_layer_in_order():
    names = ["conv1", "bn1"]
    names += [f"layer{a}.{b}.conv{c}" for a in range(1, 5) for b in range(4) for c in range(1, 4)] + ["fc"]
    layers = [LayerEntry(name, k, "Conv2d", 10, "rule", "") for k, name in enumerate(names)]
    blocks = grouped(layers)
    assert [layer.name for _, inside in blocks for layer in inside] == names
    assert len(blocks) == 19 <= MOST_BLOCKS
    assert [name for name, _ in blocks][:4] == ["conv1", "bn1", "layer1.0", "layer1.1"]
    assert len(grouped(layers, most=60)) == len(names)


def test_the_distance_to_a_limit_is_that_of_the_bound_that_decides():
    run = example_run()
    passed, failed, undecided = run.verdicts
    assert distance(passed) == "upper bound 0.788 below it"
    assert distance(failed) == "lower bound 0.203 above it"
    # how many would decide it is what the gate says (`gate.undecided`)
    open_ = replace(undecided, needed=7900, n=1797)
    assert distance(open_) == "the interval holds the limit; about 7,900 records in place of 1,797 would decide"
    near = replace(open_, value=0.55, needed=None)
    assert distance(near) == "the interval holds the limit"
    assert distance(replace(open_, lo=float("nan"))) == "not measured"


def test_inlined_drawings_share_no_name_and_tell_their_marks():
    drawing = (
        '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" width="90">'
        '<defs><clipPath id="clip0"/></defs><g clip-path="url(#clip0)"><image xlink:href="http://x/y.png"/>'
        '<path role="graphics-symbol" aria-roledescription="point" aria-label="a: &lt;1"/></g></svg>'
    )
    text = str(inline(drawing, "roc", "Curves"))
    assert "http" not in text
    assert 'id="roc-clip0"' in text
    assert "url(#roc-clip0)" in text
    assert "<title>a: &lt;1</title>" in text
    assert 'aria-label="Curves"' in text


def test_pictures_of_records_are_there_only_where_they_were_kept(tmp_path):
    assert kept_pictures(None) == ()
    assert kept_pictures(tmp_path) == ()
    (tmp_path / "rebuilt").mkdir()
    (tmp_path / "rebuilt" / "seed-0-epoch-1-dlg.png").write_bytes(b"\x89PNG")
    (picture,) = kept_pictures(tmp_path)
    assert picture.png == "data:image/png;base64,iVBORw=="
    assert picture.title == "seed 0 epoch 1 dlg"


def test_pictures_of_the_last_epoch_come_first(tmp_path):
    (tmp_path / "rebuilt").mkdir()
    for name in ("seed-0-epoch-2-a-b", "seed-0-epoch-15-a-b", "seed-0-epoch-9-a-b", "seed-1-epoch-15-a-b"):
        (tmp_path / "rebuilt" / f"{name}.png").write_bytes(b"\x89PNG")
    titles = [picture.title for picture in kept_pictures(tmp_path)]
    assert titles == ["seed 0 epoch 15 a-b", "seed 1 epoch 15 a-b", "seed 0 epoch 9 a-b", "seed 0 epoch 2 a-b"]
