"""Row space, column space, rank drop: members have all three, others none."""

import pytest
import torch
from attack_cases import explicit, factors, games, generator, own_of

from ptaudit.attacks import span
from ptaudit.gradients import Dense, Factors


def found(one, m, count=32, candidates=16, noise=0.0, seed=1):
    members, secret = games(len(one.left), candidates, m, count, seed)
    batch = one.sums(members)
    if noise:
        batch = batch + noise * torch.randn(batch.shape, generator=generator(9))
    return span.statistics(batch, one, torch.arange(candidates), m, noise), secret


@pytest.mark.parametrize(("rows", "columns", "positions", "m"), [(40, 60, 1, 8), (40, 60, 1, 32), (60, 40, 3, 8)])
def test_members_are_in_both_spaces_and_drop_the_rank(rows, columns, positions, m):
    (visible, from_rows, from_columns, drop), secret = found(factors(100, rows, columns, positions), m)
    for values in (from_rows, from_columns):
        inside, outside = own_of(values, secret)
        assert float(inside.max()) < -5.0
        assert float(outside.min()) > -1.5
    inside, outside = own_of(drop, secret)
    assert float(inside.max()) < -4.0
    assert float((outside < -2.0).float().mean()) < 0.02  # near 1 by chance
    assert float(visible.min()) > 3.0


def test_candidates_of_their_own_for_every_game():
    """The same numbers, whether the candidates are shared or listed game by game."""
    one = factors(100, 40, 60)
    members, _ = games(100, 16, 8, 12)
    batch, shared = one.sums(members), torch.arange(16)
    listed = shared.expand(12, -1)
    for a, b in zip(span.statistics(batch, one, shared, 8, 0.0), span.statistics(batch, one, listed, 8, 0.0)):
        torch.testing.assert_close(a.clamp_min(-4.5), b.clamp_min(-4.5), rtol=0.0, atol=0.02)


def test_a_repeated_span_says_nothing():
    """A candidate that is the sum of two members has both spaces and not the rank drop."""
    one = factors(60, 30, 40)
    left, right = one.left.clone(), one.right.clone()
    left[0], right[0] = left[20] + left[21], right[20] + right[21]
    one = Factors(left, right)
    members = torch.tensor([[20, 21, 22, 23]])
    _, rows, columns, drop = span.statistics(one.sums(members), one, torch.tensor([0, 20, 1]), 4, 0.0)
    assert rows[0, :2].max() < -5 < -1.5 < rows[0, 2]
    assert columns[0, :2].max() < -5 < -1.5 < columns[0, 2]
    assert drop[0, 1] < -4 < -1.5 < drop[0, 0]


@pytest.mark.parametrize("small", [1e-8, 1e-9])
def test_records_that_are_lost_in_rounding_are_invisible(small):
    """A gradient 1e-8 times the largest leaves nothing in a float32 sum, and its visibility says so."""
    one = factors(60, 30, 40)
    left = one.left.clone()
    left[0] *= small
    one = Factors(left, one.right)
    members = torch.tensor([[0, 20, 21, 22], [1, 20, 21, 22]])
    visible, rows, _, _ = span.statistics(one.sums(members), one, torch.tensor([0, 1]), 4, 0.0)
    assert float(visible[:, 0].max()) < 0.0 < 3.0 < float(visible[:, 1].min())
    assert float(rows[0, 0]) > -1.5  # it is in, and not to be seen
    assert float(rows[1, 1]) < -5.0


def test_a_record_just_above_rounding_is_seen():
    one = factors(60, 30, 40)
    left = one.left.clone()
    left[0] *= 1e-4
    one = Factors(left, one.right)
    visible, rows, _, drop = span.statistics(one.sums(torch.tensor([[0, 20, 21]])), one, torch.tensor([0, 1]), 3, 0.0)
    assert float(visible[0, 0]) > 0.5
    assert float(rows[0, 0]) < -2.0 < -1.5 < float(rows[0, 1])
    assert float(drop[0, 0]) < -1.0


def test_softmax_leaves_one_rank_less_than_classes():
    """Output gradients that sum to 0: columns span all of them, rows still tell."""
    g = generator()
    left = torch.softmax(torch.randn(60, 1, 10, generator=g), 2) - torch.eye(10)[torch.arange(60) % 10][:, None]
    one = Factors(left, torch.randn(60, 1, 40, generator=g))
    (_, rows, _, drop), secret = found(one, 8)
    inside, outside = own_of(rows, secret)
    assert float(inside.max()) < -5.0 < -1.5 < float(outside.min())
    inside, outside = own_of(drop, secret)
    assert float(inside.max()) < -4.0
    (_, rows, _, _), secret = found(one, 10)  # ten terms have rank nine
    inside, _ = own_of(rows, secret)
    assert float(inside.median()) > -1.5


def test_it_applies_while_terms_do_not_exceed_the_smaller_side():
    one = factors(4, 20, 30, 2)
    assert span.applies(one, 10)
    assert not span.applies(one, 11)
    assert not span.applies(Dense(explicit(one)), 1)


def test_small_noise_moves_the_floor():
    """Under noise of known size members are as far as the noise is large; candidates below it are invisible."""
    one = factors(100, 40, 60)
    for noise in (1e-3, 1e-2):
        (visible, rows, _, _), secret = found(one, 8, noise=noise)
        inside, outside = own_of(rows, secret)
        assert float(inside.max()) < float(outside.min())
        assert float(inside.median()) > -5.0
        (quiet, *_), _ = found(one, 8)
        assert float(visible.max()) < float(quiet.min())
    (visible, *_), _ = found(one, 8, noise=1e3)
    assert float(visible.max()) < 0.0


def test_empty_batches_are_finite():
    one = factors(20, 10, 12)
    zero = Factors(torch.zeros_like(one.left), one.right)
    for records in (one, zero):
        for values in span.statistics(torch.zeros(3, 10, 12), records, torch.arange(5), 4, 0.0):
            assert bool(torch.isfinite(values).all())


def test_the_spectrum_is_that_of_the_matrix():
    one = factors(30, 20, 25)
    members, _ = games(30, 5, 6, 4)
    batch = one.sums(members)
    values = span.spectrum(batch, 6, 0.0).values
    expected = torch.linalg.svdvals(batch.double())
    torch.testing.assert_close(values[:, :6], expected[:, :6], rtol=1e-5, atol=1e-6)
    assert not values[:, 6:].any()
