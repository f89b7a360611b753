"""`groups.csv`: written whole, read back as it was, checked."""

import math
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from table_builders import make_row, make_run

sys.path.insert(0, str(Path(__file__).parents[1] / "report"))

from example_run import example_run

from ptaudit.errors import RunFolderError
from ptaudit.tables.folder import read_run, write_run
from ptaudit.tables.groups import COLUMNS, groups_sheet, last_groups, of_all_records, read_groups, worst_group
from ptaudit.tables.run import GroupEntry

NAN = math.nan
EVIL = ('=HYPERLINK("http://x")', "a,b\n\x1b[31m", "-1", "<b>|`x`", "")


def entry(group="a", value=0.6, **changes):
    found = GroupEntry(8, 0, "none", "membership", "loss", "attribute town", group, 1, 40, 30, "auc", value,
                       round(value - 0.05, 6), round(value + 0.05, 6), 0.5, "ok")  # fmt: skip
    return replace(found, **changes)


def lost(group="b", status="inconclusive: needs 20 members in the group, there are 7", **changes):
    return entry(group, NAN, lo=NAN, hi=NAN, null=NAN, status=status, **changes)


def test_a_folder_gives_back_what_was_found_whatever_groups_are_called(tmp_path):
    groups = (*(entry(name) for name in EVIL), lost(), entry("a", seed=1, trained_with="prune-0.9"))
    write_run(replace(example_run(), groups=groups), tmp_path)
    text = (tmp_path / "groups.csv").read_text()
    assert text.splitlines()[0] == ",".join(COLUMNS)
    assert "\x1b" not in text
    assert ",=" not in text
    found = read_run(tmp_path)
    assert "groups.csv" in (tmp_path / "manifest.json").read_text()
    assert [one.group for one in found.groups] == [one.group for one in groups]
    assert repr(found.groups) == repr(groups)  # NaN is not equal to itself


def test_a_run_without_groups_has_no_such_file_and_one_without_the_file_is_read(tmp_path):
    write_run(example_run(), tmp_path)
    assert not (tmp_path / "groups.csv").exists()
    assert read_run(tmp_path).groups == ()
    assert groups_sheet(example_run()).rows == ()


@pytest.mark.parametrize(
    ("wrong", "what"),
    [
        (lambda text: text + text.splitlines()[1] + "\n", ":4: this row stands twice"),
        (lambda text: text.replace(",ok", ",fine", 1), ":2: this row has an unknown status 'fine'"),
        (lambda text: text.replace("0.65", "0.55", 1), ":2: this row has no number within its interval"),
        (lambda text: text.replace(",0.6,", ",,", 1), ":2: this row has no number within its interval"),
        (lambda text: text.replace(",40,", ",-4,", 1), ":2: this row counts less than nothing"),
        (lambda text: text.replace(",40,", ",many,", 1), ":2: column members: 'many' is not a whole number"),
        (lambda text: text.replace("members", "people", 1), ":1: column missing: members"),
    ],
)
def test_what_cannot_be_is_refused_with_its_line(tmp_path, wrong, what):
    write_run(replace(example_run(), groups=(entry(), lost())), tmp_path)
    path = tmp_path / "groups.csv"
    path.write_text(wrong(path.read_text()))
    with pytest.raises(RunFolderError) as caught:
        read_groups(path)
    assert what in str(caught.value)


def test_the_worst_is_of_the_last_epoch_the_first_seed_and_the_training_as_it_is():
    entries = [
        entry("early", 0.99, epoch=4), entry("defended", 0.98, trained_with="sign"), entry("other seed", 0.97, seed=1),
        entry("rate", 0.96, metric="tpr_at_fpr_0.01"), lost("small"), entry("wide", 0.9, lo=0.5), entry("worst", 0.8),
    ]  # fmt: skip
    run = make_run([make_row("*", 0.7, game="membership", adversary="loss", metric="auc", view="model", epoch=8)])
    run = replace(run, groups=tuple(entries))
    assert [one.group for one in last_groups(run, "auc")] == ["small", "wide", "worst"]
    worst = worst_group(run, "auc")
    assert worst is not None
    assert worst.group == "worst"
    average = of_all_records(run, worst)
    assert average is not None
    assert average.value == 0.7
    assert worst_group(replace(run, groups=(lost(),)), "auc") is None
