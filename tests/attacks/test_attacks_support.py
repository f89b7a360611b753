"""Zero patterns exclude exactly those who use what nobody used; a row that one record alone used is its own."""

import pytest
import torch
from attack_cases import dense, explicit, games, generator, own_of, words

from ptaudit.attacks import support
from ptaudit.gradients import Dense, Factors, UsedRows

COLUMNS = 12


def one_hot(n=80, rows=10, seed=0):
    """Three one-hot groups of four; output gradients of any kind."""
    g = generator(seed)
    codes = torch.randint(0, 4, (n, 3), generator=g)
    right = torch.zeros(n, 1, COLUMNS).scatter_(2, (codes + torch.tensor([0, 4, 8]))[:, None], 1.0)
    return Factors(torch.randn(n, 1, rows, generator=g), right)


@pytest.mark.parametrize("form", ["factors", "dense"])
def test_columns_that_nobody_used_exclude_exactly_those_who_use_them(form):
    one = one_hot()
    members, secret = games(80, 20, 5, 40)
    uses = one.right[:, 0] != 0
    empty = ~uses[members].any(1)
    guilty = (uses[None, :20] & empty[:, None]).any(-1)
    records = one if form == "factors" else dense(one)
    found = support.statistics(one.sums(members), records, torch.arange(20), 0.0)
    missing = found[3]  # visibility, two of rows, then columns
    assert 0.2 < float(guilty.float().mean()) < 0.95
    assert torch.equal(missing > -8.0, guilty)
    inside, _ = own_of(missing, secret)
    assert float(inside.max()) == -16.0


def test_silent_units_exclude_candidates_too():
    one = one_hot(rows=16)
    left = one.left.relu() * (torch.rand(one.left.shape, generator=generator(3)) < 0.3)
    one = Factors(left, one.right)
    members, _ = games(80, 20, 4, 40)
    uses = one.left[:, 0] != 0
    guilty = (uses[None, :20] & ~uses[members].any(1)[:, None]).any(-1)
    missing = support.statistics(one.sums(members), one, torch.arange(20), 0.0)[1]
    assert 0.2 < float(guilty.float().mean()) < 1.0
    assert torch.equal(missing > -12.0, guilty)


@pytest.mark.parametrize("form", ["factors", "dense", "positions"])
@pytest.mark.parametrize("side", [0, 1])
def test_a_row_or_column_of_one_record_alone_is_its_own(side, form):
    """Unit 3 fires for one record of the batch only: its row is a multiple of that record's input."""
    g = generator(1)
    positions = 2 if form == "positions" else 1
    left, right = torch.randn(60, positions, 9, generator=g), torch.randn(60, positions, 11, generator=g)
    alone = torch.tensor([0, 1, 2, 3])
    (left if side == 0 else right)[:, :, 3] = 0.0
    (left if side == 0 else right)[alone, :, 3] = 0.01 + torch.rand(4, positions, generator=g)
    one = Factors(left, right)
    members = torch.cat([alone[:, None], 10 + torch.randint(0, 50, (4, 30), generator=g)], 1)
    records = dense(one) if form == "dense" else one
    found = support.statistics(one.sums(members), records, torch.arange(8), 0.0)
    inside, outside = own_of(found[2 + 2 * side], alone)
    assert float(inside.max()) < -3.0
    assert float(outside[:, :3].min()) > -1.5  # the other three who use the unit: not in this batch
    other = found[4 - 2 * side]
    assert float(own_of(other, alone)[0].min()) > -1.5


def test_candidates_of_their_own_for_every_game():
    for one in (one_hot(), dense(one_hot()), words(80, 4, 30)):
        members, _ = games(80, 20, 5, 12)
        shared = torch.arange(20)
        batch = one.sums(members)
        both = [support.statistics(batch, one, c, 0.0) for c in (shared, shared.expand(12, -1))]
        for a, b in zip(*both):
            torch.testing.assert_close(a.expand_as(b).clamp_min(-3.0), b.clamp_min(-3.0), rtol=0.0, atol=0.05)


@pytest.mark.parametrize("cells", [1 << 24, 1])
def test_entries_that_nobody_used_exclude_exactly_those_who_use_them(cells, monkeypatch):
    monkeypatch.setattr(support, "CELLS", cells)
    one = words(80, 4, 40)
    members, secret = games(80, 20, 6, 30)
    used = torch.zeros(80, 40, dtype=torch.bool).scatter_(1, one.index, True)
    guilty = (used[None, :20] & ~used[members].any(1)[:, None]).any(-1)
    for candidates in (torch.arange(20), torch.arange(20).expand(30, -1)):
        _, missing, nearest = support.statistics(one.sums(members), one, candidates, 0.0)
        assert torch.equal(missing > -8.0, guilty)
        assert float(own_of(missing, secret)[0].max()) == -16.0
        rest = used[members[:, 1:]].any(1)
        alone = (used[secret] & ~rest).any(1)
        inside, _ = own_of(nearest, secret)
        assert torch.equal(inside < -4.0, alone)


def test_padding_is_not_in_use():
    one = words(20, 4, 30)
    grads = one.grads.clone()
    index = one.index.clone()
    index[0, 2:], grads[0, 2:] = 29, 0.0  # padding of the candidate, and nobody else has it
    index[1:] = index[1:].clamp_max(28)
    one = UsedRows(index, grads, 30)
    _, missing, _ = support.statistics(one.sums(torch.tensor([[0, 5, 6]])), one, torch.arange(3), 0.0)
    assert float(missing[0, 0]) == -16.0


def test_columns_of_a_projected_layer_are_not_looked_at():
    values = explicit(one_hot())
    assert len(support.statistics(values[:2], Dense(values), torch.arange(3), 0.0)) == 5
    assert len(support.statistics(values[:2], Dense(values, whole=False), torch.arange(3), 0.0)) == 3


def test_visibility_tells_who_is_lost_in_rounding_and_noise():
    one = one_hot()
    left = one.left.clone()
    left[0] *= 1e-9
    one = Factors(left, one.right)
    batch = one.sums(games(80, 20, 5, 8)[0])
    quiet = support.statistics(batch, one, torch.arange(20), 0.0)[0]
    assert float(quiet[:, 0].max()) < 0.0 < float(quiet[:, 1:].min())
    noisy = support.statistics(batch, one, torch.arange(20), 10.0)[0]
    assert float(noisy.max()) < 0.0


def test_records_without_a_gradient_are_finite():
    zero = Factors(torch.zeros(20, 1, 10), torch.zeros(20, 1, 12))
    empty = UsedRows(torch.zeros(20, 3).long(), torch.zeros(20, 3, 8), 9)
    for one in (zero, dense(zero), empty):
        for values in support.statistics(one.sums(torch.tensor([[1, 2]])), one, torch.arange(4), 0.0):
            assert bool(torch.isfinite(values).all())


@pytest.mark.parametrize("form", ["factors", "dense", "positions"])
def test_entries_that_are_0_in_the_sum_exclude_who_is_not_0_there(form):
    """Also where no row and no column is empty: who uses an input in a unit that saw it in no record was not there."""
    g = generator(4)
    positions = 2 if form == "positions" else 1
    left, right = (
        torch.randn(60, positions, size, generator=g) * (torch.rand(60, positions, size, generator=g) < 0.4)
        for size in (9, 11)
    )
    one = Factors(left, right)
    members, secret = games(60, 20, 6, 40)
    batch = one.sums(members)
    assert float((batch == 0.0).all(1).float().mean()) < 0.1
    used = explicit(one)[:20] != 0.0
    lost = ((batch == 0.0)[:, None] & used).flatten(2).float().sum(2) / used.flatten(1).sum(1)
    records = dense(one) if form == "dense" else one
    for seen in (batch, batch.sign()):
        found = support.lost_entries(seen, records, torch.arange(20))
        torch.testing.assert_close(found.double().clamp_min(-15.0), lost.double().log10().clamp_min(-15.0))
        each = support.lost_entries(seen, records, torch.arange(20).expand(40, -1))
        torch.testing.assert_close(each, found)
    inside, _ = own_of(found, secret)
    assert float(inside.max()) == -16.0
    assert 0.2 < float((found > -15.0).float().mean()) < 1.0
