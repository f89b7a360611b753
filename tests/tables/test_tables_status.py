"""What a row says at its end, and what limits it."""

from __future__ import annotations

import math

import pytest
from table_builders import lost_row, make_row, make_run

from ptaudit.tables.mechanism import has_mechanism, only_by_adversary
from ptaudit.tables.status import limited_by_attack, never_below_identity, worst_status

ORDER = (
    "ok", "attack-limited", "dim-limited", "sketch-limited", "data-limited", "saturated", "inconclusive: x",
)  # fmt: skip
SPEC = """\
train: {defense: {name: dp_sgd, clip: 1, epsilon: 3}}
audit:
  views:
    - {name: batch-8, batch_size: 8}
    - {name: dp, batch_size: 8, defense: {name: dp, clip: 1, noise_multiplier: 1}}
    - {name: clipped, batch_size: 8, defense: {name: dp, clip: 1, noise_multiplier: 0}}
    - {name: labels, batch_size: 8, defense: {name: label_dp, epsilon: 1}}
    - {name: sign, batch_size: 8, defense: {name: sign}}
  games:
    - identity
    - {name: property, id: of-label, secret: label, values: [1]}
"""
DEFENDED = """\
defenses: [{name: dp, clip: 1, noise_multiplier: 2}, {name: sign}]
audit: {views: [{name: batch-8, batch_size: 8}], games: [identity]}
"""


def test_the_status_that_asks_for_most_caution():
    for k in range(1, len(ORDER) + 1):
        assert worst_status(ORDER[:k]) == ORDER[k - 1]
        assert worst_status(ORDER[:k][::-1]) == ORDER[k - 1]


@pytest.mark.parametrize(
    ("columns", "status"),
    [
        ({}, "attack-limited"),
        ({"value": 7.3}, "ok"),  # 91 % of the ceiling
        ({"value": 7.1}, "attack-limited"),
        ({"metric": "auc", "value": 0.6, "ceiling": 1.0}, "attack-limited"),
        ({"status": "dim-limited"}, "dim-limited"),
        ({"status": "data-limited"}, "data-limited"),
        ({"knowledge": "static"}, "ok"),
        ({"knowledge": "late"}, "ok"),
        ({"adversary": "exact"}, "ok"),
        ({"ceiling": math.nan}, "ok"),
        ({"metric": "upper_bits"}, "ok"),
        ({"metric": "epsilon_lo"}, "ok"),
        ({"metric": "noise_half"}, "ok"),
    ],
)
def test_rows_far_from_their_ceiling_are_limited_by_their_adversary(columns, status):
    assert limited_by_attack(make_row(**{"value": 1.0, **columns})).status == status


def test_what_was_not_measured_is_limited_by_nothing():
    row = lost_row()
    assert limited_by_attack(row) is row


def information(value, **columns):
    return make_row(value=value, game="mutual-information", adversary="infonce", **columns)


def test_information_below_the_bits_of_the_identity_game_does_not_stand_as_ok():
    rows = [
        make_row(value=5.0), make_row("conv1", 2.0), make_row(value=6.0, view="dp"),
        make_row(value=7.0, knows="others"), make_row(value=7.0, knowledge="static"),
        information(4.9, ceiling=math.nan), information(5.1, ceiling=math.nan), information(2.1, layer="conv1"),
        information(1.0, metric="upper_bits"), information(4.9, status="saturated"),
        information(5.9, view="dp"), information(4.0, trained_with="sign"), information(4.6, ceiling=5.0),
    ]  # fmt: skip
    found = never_below_identity(rows, ["identity"], lambda row: row.game == "mutual-information")
    assert [row.status for row in found[:5]] == ["ok"] * 5
    wrong, ok = "attack-limited", "ok"
    assert [row.status for row in found[5:]] == [wrong, ok, ok, ok, "saturated", wrong, ok, ok]
    assert never_below_identity(rows, ["identity"], lambda row: False) == rows
    assert never_below_identity(rows, ["another"], lambda row: True) == rows


@pytest.mark.parametrize(
    ("view", "game", "there"),
    [
        ("batch-8", "identity", False), ("dp", "identity", True), ("clipped", "identity", False),
        ("labels", "identity", False), ("labels", "of-label", True), ("sign", "identity", False),
        ("model", "membership", True), ("gone", "identity", False),
    ],
)  # fmt: skip
def test_only_noise_of_known_size_is_a_mechanism(view, game, there):
    assert has_mechanism(make_run([], spec_text=SPEC), make_row(view=view, game=game)) == there
    assert not has_mechanism(make_run([]), make_row(view=view, game=game))


def test_a_training_with_a_defense_shows_what_that_defense_hides():
    run = make_run([], spec_text=DEFENDED)
    for view in ("batch-8", "model"):
        assert has_mechanism(run, make_row(view=view, trained_with="dp-2"))
        assert not has_mechanism(run, make_row(view=view, trained_with="sign"))
        assert not has_mechanism(run, make_row(view=view))


def test_a_limited_row_with_noise_is_limited_by_more_than_its_adversary():
    run = make_run([], spec_text=SPEC)
    assert only_by_adversary(run, make_row(status="attack-limited"))
    assert only_by_adversary(run, make_row(status="dim-limited"))
    assert not only_by_adversary(run, make_row(view="dp", status="dim-limited"))
    assert not only_by_adversary(run, make_row())
    assert not only_by_adversary(run, make_row(status="saturated"))
