"""Views re-aggregated from tokens."""

import pytest
import torch
from scipy import stats

from ptaudit.views import Games, View, draw_games, draw_others, observe, sums
from ptaudit.views.aggregate import add_noise


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def test_others_are_distinct_and_uniform():
    drawn = draw_others(12, 6000, 5, seeded())
    assert drawn.shape == (6000, 5)
    assert all(len(set(row)) == 5 for row in drawn.tolist())
    counts = torch.bincount(drawn.flatten(), minlength=12)
    # Without replacement the counts vary less than a multinomial's, so the test is conservative.
    assert stats.chisquare(counts.numpy()).pvalue > 0.001
    pairs = torch.zeros(12, 12)
    for row in drawn.tolist():
        for a in row:
            pairs[a, row] += 1
    off = pairs[~torch.eye(12, dtype=torch.bool)]
    assert off.mean() == pytest.approx(6000 * 20 / 132)
    assert (off - off.mean()).abs().max() < 5 * (6000 * 20 / 132) ** 0.5


def test_others_can_be_none_or_the_whole_pool():
    assert draw_others(4, 3, 0, seeded()).shape == (3, 0)
    assert draw_others(4, 3, 4, seeded()).sort(1).values.tolist() == [[0, 1, 2, 3]] * 3


def test_others_of_large_pools_are_drawn_in_pieces(monkeypatch):
    whole = draw_others(40, 30, 3, seeded(1))
    monkeypatch.setattr("ptaudit.views.aggregate._DRAW_CELLS", 100)
    pieces = draw_others(40, 30, 3, seeded(1))
    assert pieces.shape == whole.shape
    assert all(len(set(row)) == 3 for row in pieces.tolist())


def test_rounds_are_drawn_independently():
    games = draw_games(4, 100, 50, View("v", 4, 2), seeded())
    assert games.secret.tolist() == [i for i in range(4) for _ in range(50)]
    assert games.others.shape == (2, 200, 3)
    assert not torch.equal(games.others[0], games.others[1])


@pytest.mark.parametrize("members", [1, 4])
def test_sums_are_those_of_a_loop(members):
    tokens = torch.randn(3, 20, 7, generator=seeded(), dtype=torch.float64)
    index = draw_others(20, 11, members, seeded(1))
    found = sums(tokens, index)
    for row in range(3):
        for game in range(11):
            expected = sum(tokens[row, i] for i in index[game].tolist())
            torch.testing.assert_close(found[row, game], expected)


def test_a_sum_of_no_records_is_zero():
    found = sums(torch.ones(2, 5, 3), torch.empty(4, 0, dtype=torch.long))
    assert found.shape == (2, 4, 3)
    assert not found.any()


def test_a_view_is_target_plus_others_in_every_round():
    candidates = torch.randn(2, 3, 4, generator=seeded(), dtype=torch.float64)
    pool = torch.randn(2, 6, 4, generator=seeded(1), dtype=torch.float64)
    games = Games(torch.tensor([2, 0]), torch.tensor([[[0, 1], [2, 3]], [[4, 5], [1, 0]]]))
    views = observe(candidates, pool, games, 0.0, seeded())
    assert len(views) == 2
    for view, others in zip(views, games.others):
        for game, secret in enumerate([2, 0]):
            a, b = others[game].tolist()
            torch.testing.assert_close(view[:, game], candidates[:, secret] + pool[:, a] + pool[:, b])


def test_noise_has_the_standard_deviation_asked_for_whatever_the_batch():
    """It is added to the sum once, not to every record; and anew in every round."""
    candidates, pool = torch.zeros(1, 4, 64), torch.zeros(1, 40, 64)
    games = draw_games(4, 40, 100, View("v", 10, 2), seeded())
    first, second = observe(candidates, pool, games, 2.5, seeded(3))
    for view in (first, second):
        assert float(view.std()) == pytest.approx(2.5, rel=0.02)
        assert float(view.mean()) == pytest.approx(0.0, abs=0.06)
        assert stats.kstest(view.flatten().numpy() / 2.5, "norm").pvalue > 0.001
    assert abs(float((first * second).mean())) < 0.15


def test_noise_does_not_depend_on_the_kind_of_tokens():
    single, double = torch.zeros(1, 5, 3), torch.zeros(1, 5, 3, dtype=torch.float64)
    torch.testing.assert_close(add_noise(single, 1.0, seeded()).double(), add_noise(double, 1.0, seeded()))


def test_without_noise_nothing_is_drawn():
    generator = seeded()
    before = generator.get_state()
    total = torch.ones(1, 2, 3)
    assert torch.equal(add_noise(total, 0.0, generator), total)
    assert torch.equal(generator.get_state(), before)


def test_others_of_a_view_are_one_fewer_than_its_batch():
    assert (View("a").others, View("b", 32).others) == (0, 31)
