"""Columns say what rows say: each operation beside the slow, obvious one on row objects."""

import math
import subprocess
import sys
import time
from collections import Counter
from dataclasses import fields, replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from table_builders import Gate, make_row, make_run, rows_of

from ptaudit.compare import compare
from ptaudit.errors import RunFolderError
from ptaudit.gate import decide
from ptaudit.report import open_format
from ptaudit.report.words import share, shares
from ptaudit.tables import reading
from ptaudit.tables.columns import Remarks, Words, best_of, first_of, keys, places_of, series_of
from ptaudit.tables.folder import leakage_text, read_run, write_run
from ptaudit.tables.mechanism import has_mechanism, limited, only_by_adversary, protected
from ptaudit.tables.reading import impossible, problem, read_leakage, repeated
from ptaudit.tables.row import COLUMNS, KEY_COLUMNS, Row
from ptaudit.tables.seeds import close
from ptaudit.tables.table import Table, strongest

NUMBERS = st.sampled_from([-1.0, 0.0, 0.5, 1.0, 1.0 + 1e-10, 2.0, 8.0, math.inf, math.nan])
STATUSES = st.sampled_from(
    ["ok", "dim-limited", "saturated", "attack-limited", "fine", "", " ok", "inconclusive", "inconclusive: few, \"so\"",
     "not captured: unused", "not comparable: they differ", "not capturedx: y"]
)  # fmt: skip
ROWS = st.lists(
    st.builds(
        Row,
        epoch=st.integers(0, 2), step=st.integers(0, 2**40), layer=st.sampled_from(["*", "fc", "a,\n\"b\"", "é"]),
        layer_index=st.integers(-1, 70_000), layer_type=st.just("Linear"), parameters=st.integers(0, 2**33),
        view=st.sampled_from(["v", "w"]), game=st.sampled_from(["identity", "mutual-information"]),
        adversary=st.sampled_from(["combined", "ksg", "mine"]), knowledge=st.sampled_from(["adaptive", "static"]),
        knows=st.just("none"), trained_with=st.sampled_from(["none", "sign"]),
        metric=st.sampled_from(["bits", "accuracy"]), value=NUMBERS, lo=NUMBERS, hi=NUMBERS, null=NUMBERS,
        ceiling=NUMBERS, detectable=NUMBERS, n=st.integers(-1, 300), status=STATUSES,
    ),
    max_size=12,
)  # fmt: skip


def is_measured(row):
    interval = not (math.isnan(row.lo) or math.isnan(row.hi))
    lost = row.status.startswith(("inconclusive", "not captured", "not comparable"))
    return interval and math.isfinite(row.value) and not lost


def share_of(row):
    floor = 0.0 if row.metric == "bits" else row.null
    room = row.ceiling - floor
    if not (is_measured(row) and math.isfinite(room) and room > 0):
        return None
    return min(max((row.value - floor) / room, 0.0), 1.0)


def problem_of(row):
    if row.n < 0:
        return f"n is {row.n}"
    reasons = ("inconclusive: ", "not captured: ", "not comparable: ")
    if row.status not in ("ok", "dim-limited", "saturated", "attack-limited") and not row.status.startswith(reasons):
        return f"unknown status {row.status!r}"
    for low, high in (("lo", "value"), ("value", "hi"), ("hi", "ceiling")) if is_measured(row) else ():
        one, two = getattr(row, low), getattr(row, high)
        if not math.isnan(two) and one > two + 1e-9 * max(1.0, abs(two)):
            return f"{low} {one:g} is above {high} {two:g}"
    return ""


def strongest_of(rows):
    """Of estimators the first; else the highest lower bound, a row without a number only if there is no other."""
    if rows[0].adversary in ("ksg", "mine"):
        rows = [row for row in rows if row.adversary == rows[0].adversary]
    return max(rows, key=lambda row: row.lo if is_measured(row) else -math.inf)


def plain(rows):
    return [tuple(str(getattr(row, column)) for column in COLUMNS) for row in rows]


@settings(max_examples=150, deadline=None)
@given(ROWS)
def test_a_table_is_its_rows(rows):
    table = Table.of(rows)
    assert plain(table) == plain(rows)
    assert plain([table[k] for k in range(-len(rows), 0)]) == plain(rows)
    assert plain(table[1:3]) == plain(rows[1:3])
    assert table.measured.tolist() == [row.measured for row in rows] == [is_measured(row) for row in rows]
    for name in ("adaptive", "instrument"):
        assert getattr(table, name).tolist() == [getattr(row, name) for row in rows]
    assert shares(table) == [share(row) for row in rows] == [share_of(row) for row in rows]
    wanted = {"layer": ("*", "fc"), "metric": "bits", "epoch": (0, 1)}
    kept = [row for row in rows if row.layer in ("*", "fc") and row.metric == "bits" and row.epoch < 2]
    assert plain(table.where(**wanted)) == plain(kept)
    assert table.text("status").counts() == Counter(row.status for row in rows)
    assert list(table.text("status").counts()) == list(dict.fromkeys(row.status for row in rows))
    assert table.distinct("game", "epoch") == list(dict.fromkeys((row.game, row.epoch) for row in rows))


@settings(max_examples=150, deadline=None)
@given(ROWS)
def test_the_checks_of_a_table_are_those_of_its_rows(rows):
    table = Table.of(rows)
    assert [problem(row) for row in rows] == [problem_of(row) for row in rows]
    assert impossible(table).tolist() == [bool(problem_of(row)) for row in rows]
    assert repeated(table).tolist() == [row.key in {r.key for r in rows[:k]} for k, row in enumerate(rows)]


@settings(max_examples=80, deadline=None)
@given(ROWS)
def test_what_is_read_in_columns_is_what_is_read_row_by_row(tmp_path_factory, rows):
    path = tmp_path_factory.mktemp("t") / "leakage.csv"
    path.write_bytes(leakage_text(rows).encode())
    places, slow = zip(*reading.read_records(Row, path, COLUMNS)) if rows else ((), ())
    assert plain(Table(reading._read_columns(path))) == plain(slow)
    seen = set()
    for where, row in zip(places, slow):
        if row.key in seen or problem(row):
            with pytest.raises(RunFolderError) as caught:
                read_leakage(path)
            assert str(caught.value).startswith(f"{where}: ")
            return
        seen.add(row.key)
    assert plain(read_leakage(path)) == plain(slow)


@settings(max_examples=150, deadline=None)
@given(ROWS)
def test_the_strongest_adversary_of_each_group(rows):
    groups = {}
    for row in rows:
        if row.adaptive:
            groups.setdefault((row.layer, row.epoch), []).append(row)
    best = list(map(strongest_of, groups.values()))
    assert plain(strongest(Table.of(rows), "layer", "epoch")) == plain(best)


@settings(max_examples=80, deadline=None)
@given(ROWS)
def test_mechanisms_are_asked_once_for_rows_that_agree(rows):
    run = make_run(rows, spec_text="audit: {views: [{name: w, defense: {name: dp, noise_multiplier: 1.0}}]}")
    assert protected(run, run.rows).tolist() == [has_mechanism(run, row) for row in rows]
    assert limited(run, run.rows).tolist() == [only_by_adversary(run, row) for row in rows]


@settings(max_examples=100, deadline=None)
@given(ROWS, ROWS)
def test_keys_join_tables_as_dictionaries_do(one, other):
    there = {row.key: k for k, row in enumerate(other)}
    first, second = Table.of(one), Table.of(other)
    expected = [there.get(row.key, -1) for row in one]
    assert [other[p].key if p >= 0 else None for p in places_of(*keys(KEY_COLUMNS, first, second))] == [
        other[p].key if p >= 0 else None for p in expected
    ]


def test_keys_hold_more_combinations_than_a_number_has_bits():
    generator = np.random.default_rng(0)
    rows = [
        make_row(f"l{a}", epoch=int(b), view=f"v{c}", game=f"g{d}", adversary=f"a{e}", knows=f"k{f}")
        for a, b, c, d, e, f in generator.integers(0, 4000, (4000, 6))
    ]
    (found,) = keys(KEY_COLUMNS, Table.of([*rows, rows[7]]))
    assert len(set(found.tolist())) == len({row.key for row in rows})
    assert found[-1] == found[7]


def test_groups_and_their_best_by_hand():
    first, group = first_of(np.array([7, 3, 7, 9, 3]))
    assert (first.tolist(), group.tolist()) == ([0, 1, 3], [0, 1, 0, 2, 1])
    assert best_of(group, np.array([1.0, 5.0, 2.0, -np.inf, 5.0])).tolist() == [2, 1, 3]
    assert [places.tolist() for places in series_of(group, np.array([4, 0, 2, 0, 1]))] == [[2, 0], [1, 4], [3]]


def test_the_first_remark_on_a_row_stays():
    remarks = Remarks(4)
    remarks.add(np.array([1, 2]), Words.of(["a", "b"]))
    remarks.add(np.array([2, 3]), "c")
    assert remarks.words.tolist() == ["", "a", "b", "c"]


@given(NUMBERS, NUMBERS)
def test_closeness_is_that_of_python(one, other):
    assert bool(close(one, other, 0.01)) == math.isclose(one, other, rel_tol=0.01)


def test_draws_are_read_for_the_rows_that_are_asked_for(tmp_path):
    values = np.random.default_rng(0).standard_normal((6, 60))
    rows = [*rows_of(values, epoch=0), make_row("fc", epoch=0), *rows_of(values - 5, epoch=4)]
    write_run(make_run(rows), tmp_path)
    table = read_run(tmp_path).rows
    for k, row in enumerate(rows):
        found = table[k : k + 1].joint_draws()
        assert (found is None) if row.draws is None else np.allclose(found[0], row.draws, rtol=1e-6)
    assert table.centre() == pytest.approx([row.centre for row in rows], rel=1e-5)
    assert table.where(epoch=4).joint_draws().shape == (6, 1000)
    assert table.joint_draws() is None


# --- odd but legal, and wrong


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda text: text.replace(",100,ok", ", 100,ok", 1), None),
        (lambda text: text.replace(",100,ok", ",1_00,ok", 1), None),
        (lambda text: text.replace(",8,", ", ,", 1), None),
        (lambda text: "\ufeff" + text.replace("\n", "\r\n"), None),
        (lambda text: text.replace(",100,ok", ",,ok", 1), ":2: column n: '' is not a whole number"),
        (lambda text: text.replace(",100,ok", ",1.5,ok", 1), ":2: column n: '1.5' is not a whole number"),
        (lambda text: text.replace(",100,ok", f",{2**63},ok", 1), ":2: column n: 9223372036854775808 cannot be"),
        (
            lambda text: text.replace(",100,ok", f",{-(2**63)},ok", 1),
            ":2: this row cannot be: n is -922337203685477580",
        ),
        (lambda text: text + "\n", ":4: 0 cells where the header has 21"),
        (lambda text: text.partition("\n")[0], None),
    ],
)
def test_cells_that_only_the_slow_reader_knows(tmp_path, change, message):
    path = tmp_path / "leakage.csv"
    path.write_text(change(leakage_text([make_row("fc"), make_row("conv1")])), newline="")
    if message is None:
        assert {row.n for row in read_leakage(path)} <= {100}
        return
    with pytest.raises(RunFolderError) as caught:
        read_leakage(path)
    assert f"leakage.csv{message}" in str(caught.value)


def test_a_line_is_counted_in_lines_of_the_file(tmp_path):
    path = tmp_path / "leakage.csv"
    rows = [make_row("TWO"), make_row("fc"), make_row("conv1", n=-1)]
    path.write_text(leakage_text(rows).replace("TWO", '"two\nlines"'))
    with pytest.raises(RunFolderError, match=r"leakage.csv:5: this row cannot be: n is -1"):
        read_leakage(path)


# --- big


def big_run(name, scale):
    """100,000 rows without draws, as Table.of would have them."""
    epochs, layers, views = 20, 500, 10
    shape = (epochs, views, layers)
    at = [place.ravel() for place in np.indices(shape)]
    value = np.random.default_rng(0).uniform(1.0, 2.0, len(at[0])) * scale
    texts = {"layer": [f"block.{k}" for k in range(layers)], "view": [f"v{k}" for k in range(views)]}
    one = Table.of([make_row("fc")])
    columns = {column: one.columns[column][np.zeros(len(value), dtype=np.intp)] for column in COLUMNS}
    columns |= {
        "epoch": at[0],
        "view": Words(at[1], tuple(texts["view"])),
        "layer": Words(at[2], tuple(texts["layer"])),
    }
    columns |= {"layer_index": at[2], "value": value, "lo": value - 0.1, "hi": value + 0.1}
    return replace(make_run([], name), rows=Table(columns))


def test_a_hundred_thousand_rows_are_no_hundred_thousand_objects(tmp_path, monkeypatch):
    """Read, shown, gated and compared: the rows that become objects are those that are printed or chosen from."""
    for name, scale in (("before", 1.0), ("after", 1.02)):
        run = big_run(name, scale)
        (tmp_path / name).mkdir()
        (tmp_path / name / "leakage.csv").write_text(leakage_text(run.rows))
    made = Counter()
    monkeypatch.setattr(Row, "__init__", counted(Row.__init__, made))
    started = time.process_time()
    before, after = (read_run(tmp_path / name) for name in ("before", "after"))
    text = open_format("rich").render(after)
    (verdict,) = decide([Gate(view="v3", over="all", epoch="all", max=1.5)], after)
    comparison = compare(before, after)
    page = open_format("rich").render(comparison)
    assert "block.17" in text or "more layers" in text
    assert (verdict.outcome, verdict.rows) == ("fail", 10_000)
    assert len(comparison.changes) == 100_000
    assert "100,000 rows compared" in page
    assert made["rows"] < 10_000
    assert time.process_time() - started < 60  # a few seconds; with an object a row it was minutes on a slow machine


def counted(make, made):
    def init(self, *cells, **named):
        made["rows"] += 1
        make(self, *cells, **named)

    return init


def test_reading_tables_needs_no_torch():
    rooms = "ptaudit.tables.folder, ptaudit.compare, ptaudit.gate, ptaudit.report.rich"
    code = f"import sys, {rooms}; print('torch' in sys.modules)"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "False"


def test_every_column_of_a_row_is_a_column_of_a_table():
    assert tuple(Table.of([]).columns) == COLUMNS == tuple(f.name for f in fields(Row) if f.name != "draws")
