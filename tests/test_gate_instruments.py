"""A gate on several estimators of one quantity: the first of the spec speaks for the game."""

from __future__ import annotations

import pytest
from tables.table_builders import Gate, make_row

from ptaudit.gate import select
from ptaudit.tables.row import Row
from ptaudit.tables.table import Table

GAME = {"game": "mutual-information"}


@pytest.fixture
def rows() -> list[Row]:
    readings = [
        make_row(layer, value, adversary=name, metric=metric, **GAME)
        for name, value in (("infonce", 1.0), ("mine", 9.0))
        for layer in ("conv1", "fc")
        for metric in ("bits", "matched_minus_mismatched_bits")
    ]
    bound = [
        make_row(layer, 5.0, adversary="gaussian-channel", metric="upper_bits", **GAME) for layer in ("conv1", "fc")
    ]
    other = [make_row("fc", 2.0, adversary=name, game="about-label") for name in ("ksg", "infonce")]
    families = [make_row("fc", 2.0, adversary=name, game="usable-information") for name in ("linear", "knn")]
    return [*readings, *bound, *other, *families]


@pytest.mark.parametrize(
    ("metric", "named", "expected"),
    [
        ("mutual-information.bits", None, {"infonce"}),
        ("mutual-information.matched_minus_mismatched_bits", None, {"infonce"}),
        ("mutual-information.bits", "mine", {"mine"}),
        ("mutual-information.upper_bits", None, {"gaussian-channel"}),
        ("about-label.bits", None, {"ksg"}),
        ("usable-information.bits", None, {"linear", "knn"}),
    ],
)
def test_the_first_estimator_speaks_unless_another_is_named(
    rows: list[Row], metric: str, named: str | None, expected: set[str]
) -> None:
    kept = select(Gate(metric=metric, adversary=named, max=1.0), Table.of(rows))
    assert {row.adversary for row in kept} == expected
