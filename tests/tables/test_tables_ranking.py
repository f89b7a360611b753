"""Layers that all leak everything are told apart by the noise that it takes to hide them."""

from __future__ import annotations

import math

from table_builders import lost_row, make_row, make_run

from ptaudit.report.summary import summarise
from ptaudit.tables.ranking import noise_halves, noise_of, rank
from ptaudit.tables.summary import most_leaking, summary
from ptaudit.tables.table import Table

NAN = math.nan


def noise(layer: str, value: float, **columns: object):
    return make_row(layer, value, metric="noise_half", null=NAN, ceiling=NAN, **columns)


def leaking(*extra):
    at_ceiling = [make_row("conv1", 7.99), make_row("conv2", 8.0, half=0.0), make_row("fc", 7.95, half=0.05)]
    return make_run([make_row("*", 8.0, half=0.0), *at_ceiling, *extra])


def test_at_the_ceiling_noise_decides_and_below_it_bits():
    run = leaking(noise("conv1", 0.2), noise("conv2", 0.1), noise("fc", 0.7), noise("*", 0.9))
    assert [row.layer for row in most_leaking(run)] == ["fc", "conv1", "conv2"]
    assert [line.layer for line in summarise(run).layers] == ["fc", "conv1", "conv2"]
    lower = make_run([row for row in run.rows if row.layer != "fc"] + [make_row("fc", 3.0), noise("fc", 5.0)])
    assert [row.layer for row in most_leaking(lower)] == ["conv1", "conv2", "fc"]
    assert [line.layer for line in summarise(lower).layers] == ["conv1", "conv2", "fc"]


def test_without_such_noise_other_games_decide_and_then_the_interval():
    run = leaking()
    order = [row.layer for row in sorted(run.rows, key=rank, reverse=True) if row.layer != "*"]
    assert order == ["conv2", "fc", "conv1"]
    assert [row.layer for row in most_leaking(run)] == order
    assert [line.layer for line in summarise(run).layers] == order
    assert all(line.noise is None for line in summarise(run).layers)
    assert "noise_half" not in summary(run)["most_leaking"][0]
    labels = [make_row(layer, bits, game="label", ceiling=3.0) for layer, bits in (("fc", 2.5), ("conv1", 2.0))]
    several = leaking(*labels, make_row("conv2", 0.1, game="label", ceiling=3.0))
    assert [row.layer for row in most_leaking(several) if row.game == "identity"] == ["fc", "conv1", "conv2"]
    assert [line.layer for line in summarise(several).layers] == ["fc", "conv1", "conv2"]


def test_the_noise_is_that_of_the_same_place():
    row = make_row("fc", 8.0)
    others = [{"view": "dp"}, {"epoch": 0}, {"knows": "others"}, {"trained_with": "sign"}, {"game": "id-2"}]
    noises = noise_halves(Table.of([noise("fc", 9.0, **columns) for columns in others]))
    assert noise_of(row, noises) is None
    assert noise_of(None, noises) is None
    assert noise_of(make_row("fc", 8.0, view="dp"), noises).value == 9.0
    lost = lost_row("fc", metric="noise_half")
    wrong = noise("fc", 5.0, knowledge="static")
    several = noise_halves(Table.of([lost, wrong, noise("fc", 0.4, adversary="mlp"), noise("fc", 0.3)]))
    assert noise_of(row, several).value == 0.4


def test_ties_begin_just_below_the_ceiling():
    assert rank(make_row("a", 7.93))[0] == rank(make_row("a", 8.0))[0]
    assert rank(make_row("a", 7.9)) < rank(make_row("a", 8.0))
    assert rank(make_row("a", 3.0, ceiling=NAN)) < rank(make_row("a", 4.0, ceiling=NAN))
    assert rank(None) == rank(lost_row("a"))
    assert rank(None) < rank(make_row("a", 0.0))
    found = summary(leaking(noise("fc", 0.7)))["most_leaking"][0]
    assert (found["layer"], found["noise_half"]) == ("fc", 0.7)
