"""The line on the worst group: beside all records, in plain text whatever the group is called, and only where it is."""

import math
from dataclasses import replace

import pytest
from example_run import example_run

from ptaudit.report import Page, open_format
from ptaudit.tables.run import GroupEntry

FORMATS = ("rich", "plain", "md")


def entry(group, value=0.7, grouping="class", **changes):
    found = GroupEntry(8, 0, "none", "membership", "loss", grouping, group, 1, 40, 30, "auc", value, value - 0.05,
                       value + 0.05, 0.5, "ok")  # fmt: skip
    return replace(found, **changes)


def shown(name, *groups):
    return open_format(name).render(replace(example_run(), groups=groups), Page(folder="runs/x", width=200))


@pytest.mark.parametrize("name", FORMATS)
def test_the_worst_group_stands_beside_all_records(name):
    text = shown(name, entry("3", 0.6), entry("7", 0.7), entry("x", math.nan, status="inconclusive: too few"))
    line = next(line for line in text.splitlines() if "Worst of" in line).replace("\\", "")
    assert "Worst of 2 groups: class 7, membership.auc 0.700 [0.650, 0.750]" in line
    assert line.endswith("all records 0.561 [0.541, 0.581]")


@pytest.mark.parametrize("name", FORMATS)
def test_without_groups_there_is_no_such_line(name):
    assert "Worst " not in shown(name)
    assert shown(name) == open_format(name).render(example_run(), Page(folder="runs/x", width=200))


def test_a_user_and_small_groups_together_are_called_what_they_are():
    assert "Worst of 31 users: 3fa9, " in shown("plain", entry("3fa9", grouping="user", groups=31))
    assert "Worst of 1 group: 3 small ones of attribute job, " in shown(
        "plain", entry("", grouping="attribute job", groups=3)
    )


def test_where_no_group_is_large_enough_the_line_says_so():
    small = "inconclusive: needs 20 members in the group, there are 9"
    nan = math.nan
    text = shown("plain", entry("a", nan, lo=nan, hi=nan, null=nan, status=small))
    assert f"group  Worst group: not known; {small}" in text


def test_a_group_is_data_and_never_steers_what_shows_it():
    evil = "\x1b[31m|**x**\n# y <b>"
    assert "\x1b" not in shown("rich", entry(evil)).replace("\n", "")
    assert "\n# y" not in shown("plain", entry(evil))
    markdown = shown("md", entry(evil))
    assert "\x1b" not in markdown
    assert r"\|\*\*x\*\*" in markdown
    assert r"\<b>" in markdown
    assert "\\u001b" in shown("json", entry(evil))
