import math
from dataclasses import replace

import numpy as np
import pytest
from table_builders import lost_row, make_row, rows_of

from ptaudit.tables.seeds import degrees_of_freedom, pool
from ptaudit.tables.table import Table


def simulate(generator, layers=4, n=80, seeds=3, retraining=0.2, mean=3.0):
    """Tables of several seeds over the same records: a part of a record's value is shared, a shift is the seed's."""
    shared = generator.standard_normal((layers, n))
    tables = []
    for _ in range(seeds):
        shift = retraining * generator.standard_normal((layers, 1))
        tables.append(rows_of(mean + shared + 0.3 * generator.standard_normal((layers, n)) + shift))
    return tables


def test_one_table_is_returned_as_it_is():
    table = rows_of(np.random.default_rng(0).standard_normal((3, 50)) + 2)
    assert pool([table]) == table
    assert pool([table])[0].draws is table[0].draws


@pytest.mark.parametrize("retraining", [0.0, 0.1, 1.0])
@pytest.mark.parametrize("seeds", [2, 3, 5])
def test_pooled_intervals_cover_records_and_retraining(seeds, retraining):
    generator, held = np.random.default_rng(seeds), []
    for _ in range(60):
        rows = pool(simulate(generator, seeds=seeds, retraining=retraining))
        held += [row.lo <= 3.0 <= row.hi for row in rows]
    assert np.mean(held) >= 0.90


def test_intervals_of_single_seeds_would_not_cover():
    generator, held = np.random.default_rng(1), []
    for _ in range(40):
        held += [row.lo <= 3.0 <= row.hi for row in simulate(generator, retraining=0.5)[0]]
    assert np.mean(held) < 0.7


def test_pooled_row_by_hand():
    values = (1.0, 2.0, 3.0)
    row = pool([[make_row(value=value, half=0.0, n=k + 50, null=0.1 * k)] for k, value in enumerate(values)])[0]
    half = 4.302653 / math.sqrt(3)  # t quantile at 2 degrees of freedom, standard deviation 1
    assert (row.value, row.lo, row.hi) == pytest.approx((2.0, max(2 - half, 0), 2 + half), rel=1e-5)
    assert (row.n, row.null, row.draws) == (50, pytest.approx(0.1), None)


def test_draws_are_as_wide_as_the_interval_and_move_together():
    rows = pool(simulate(np.random.default_rng(3), seeds=3, retraining=0.4))
    for row in rows:
        assert 1.96 * row.draws.std() == pytest.approx((row.hi - row.lo) / 2, rel=0.15)
        assert row.draws.mean() == pytest.approx(row.value, abs=0.1)
    shift = np.random.default_rng(0).standard_normal(3)
    together = pool([rows_of(np.random.default_rng(9).standard_normal((2, 80)) * 0.01 + 3 + s) for s in shift])
    assert np.corrcoef(together[0].draws, together[1].draws)[0, 1] > 0.95


def test_retraining_noise_of_two_runs_is_independent():
    first, second = (pool(simulate(np.random.default_rng(s), retraining=0.5)) for s in (1, 2))
    shared = pool(simulate(np.random.default_rng(1), retraining=0.5))
    assert np.array_equal(first[0].draws, shared[0].draws)
    assert abs(np.corrcoef(first[0].draws, second[0].draws)[0, 1]) < 0.15


def test_degrees_of_freedom_follow_the_larger_noise():
    generator = np.random.default_rng(0)
    noisy, quiet = simulate(generator, retraining=2.0), simulate(generator, retraining=0.0)
    of_noisy, of_quiet = (degrees_of_freedom(Table.of(pool(t)), list(map(Table.of, t))) for t in (noisy, quiet))
    assert np.all(of_noisy < 3)
    assert np.all(of_quiet > 15)
    assert np.all(np.isinf(degrees_of_freedom(Table.of(noisy[0]), ())))


def test_clipped_values_are_pooled_unclipped_where_the_draws_tell():
    values = np.random.default_rng(0).standard_normal((1, 400))
    tables = [rows_of(values - values.mean() + centre) for centre in (-0.2, -0.1, 0.15)]
    row = pool(tables)[0]
    assert [table[0].value for table in tables] == pytest.approx([0.0, 0.0, 0.15])
    assert row.value == pytest.approx(0.0)
    assert row.lo == 0.0
    assert row.draws.mean() == pytest.approx(-0.05, abs=0.02)
    static = [replace(t[0], value=-1.0, lo=-1.2, hi=-0.8, draws=None) for t in tables]
    assert pool([[each] for each in static])[0].lo == pytest.approx(-1.2, abs=0.01)


def test_status_is_the_worst_and_what_is_lost_with_one_seed_is_lost():
    rows = pool([[make_row(status="ok")], [make_row(status="dim-limited")]])
    assert rows[0].status == "dim-limited"
    for lost in (lost_row(), make_row(value=math.nan)):
        row = pool([[make_row()], [lost]])[0]
        assert math.isnan(row.value)
        assert not row.measured
    missing = pool([[make_row(), make_row("conv1")], [make_row("conv1")]])
    assert [row.layer for row in missing] == ["fc", "conv1"]
    assert missing[0].status == "inconclusive: measured with 1 of 2 seeds"
    assert missing[1].measured
    other = pool([[make_row(ceiling=8.0)], [make_row(ceiling=5.0)]])[0]
    assert other.status == "inconclusive: ceilings differ between seeds"
