"""Who knows more finds more: `knows` and `noise_half` of the identity game in a whole audit."""

import math

import pytest
from audit_case import call, write_spec

from ptaudit.tables.folder import read_run
from ptaudit.tables.row import find

VIEWS = [
    {"name": "batch", "batch_size": 4},
    {"name": "dp", "batch_size": 4, "defense": {"name": "dp", "clip": 1.0, "noise_multiplier": 0.3}},
]
GAMES = [
    {"name": "identity", "id": knows, "knows": knows, "candidates": 16}
    | ({"noise_half": True} if knows == "none" else {})
    for knows in ("none", "others", "pool")
]


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
    home = tmp_path_factory.mktemp("knowledge")
    path = write_spec(home, audit__views=VIEWS, audit__games=GAMES, audit__epochs=[0], gates=[])
    result = call("run", path, "--out", home / "run", "-q")
    assert result.exit_code == 0, result.output
    return read_run(home / "run").rows


def bits(rows, view, knows):
    (row,) = find(rows, game=knows, metric="bits", view=view, layer="*", knowledge="adaptive")
    assert row.knows == knows
    return row


def test_without_noise_who_knows_others_or_pool_names_the_record(rows):
    for knows in ("others", "pool"):
        assert bits(rows, "batch", knows).value > 0.9 * bits(rows, "batch", knows).ceiling


def test_under_noise_the_others_are_worth_something_and_no_ceiling_is_passed(rows):
    none, others = bits(rows, "dp", "none"), bits(rows, "dp", "others")
    assert others.value > none.hi
    assert others.value <= others.ceiling


def test_noise_half_is_asked_of_sums_without_noise_alone(rows):
    found = find(rows, metric="noise_half")
    assert {row.view for row in found} == {"batch"}
    joint = next(row for row in found if row.layer == "*")
    if bits(rows, "batch", "none").value >= 0.9 * bits(rows, "batch", "none").ceiling:
        assert 0.0 < joint.lo <= joint.value <= joint.hi <= 1.0
    else:
        assert math.isnan(joint.value)
