"""How a member is chosen and calibrated."""

import torch

from ptaudit.attacks.calibration import uniform
from ptaudit.attacks.model_selection import FoldGames, Member, choose, coordinates_of, rows_of
from ptaudit.attacks.nuisance_density import GAUSSIAN

GAMES, K = 64, 8
FAMILY = [Member(0, 4, 3.0), Member(0, 4, GAUSSIAN), Member(1, 4, GAUSSIAN)]


def fold_games(signal, asked=None, seed=0):
    """Games in which the distance of the secret is shorter by `signal[place][row]`."""
    secret = torch.arange(GAMES) % K
    noise = torch.randn(len(signal[0]), GAMES, K, generator=torch.Generator().manual_seed(seed))

    def distances(place, rows):
        if asked is not None:
            asked.append((place, rows))
        shift = torch.tensor([signal[place][row] for row in rows])[:, None, None]
        return [20.0 + noise[list(rows)] - shift * torch.nn.functional.one_hot(secret, K)]

    return FoldGames(distances, uniform(K, noise), secret, (secret + 1) % K)


def chosen(first, second, rows=1):
    """The fits on all records are named by their place and rows."""
    return choose((first, second), FAMILY, rows, 0.0, lambda: lambda place, mine: (place, mine))


def test_each_row_takes_its_own_member_and_the_second_fold_is_asked_for_it_alone():
    asked = []
    signal = [[9.0, 0.0, 9.0], [0.0, 9.0, 0.0]]
    first, second = [fold_games(signal, seed=s) for s in (0, 1)], [fold_games(signal, asked, seed=s) for s in (2, 3)]
    found = chosen(first, second, 3)
    places = {row: member.place for rows, member, _ in found.parts for row in rows}
    assert places == {0: 0, 1: 1, 2: 0}
    assert [fit for *_, fit in found.parts] == [(0, (0, 2)), (1, (1,))]
    assert sorted(set(asked)) == [(0, (0, 2)), (1, (1,))]
    assert bool((found.bits > 1.5).all())
    assert bool((found.real.share < 0.3).all())


def test_the_shuffled_secret_is_left_with_the_prior():
    signal = [[9.0], [0.0]]
    found = chosen([fold_games(signal)], [fold_games(signal, seed=1)])
    assert float(found.shuffled.share) >= 0.85


def test_a_member_that_fails_on_the_second_fold_is_calibrated_to_next_to_nothing():
    """It is chosen on the first; what it is worth is said by both."""
    good, bad = [[9.0], [0.0]], [[-9.0], [0.0]]
    alone = chosen([fold_games(good)], [fold_games(good, seed=1)])
    both = chosen([fold_games(good)], [fold_games(bad, seed=1)])
    assert both.parts[0][1].place == 0
    assert float(both.bits) < 0.5 * float(alone.bits)


def test_all_rows_and_all_coordinates_are_not_copied():
    tokens = torch.randn(2, 3, 4)
    assert rows_of(tokens, (0, 1)) is tokens
    assert coordinates_of(tokens, torch.arange(4)) is tokens
    assert torch.equal(rows_of(tokens, (1,)), tokens[1:])
    assert torch.equal(coordinates_of(tokens, torch.tensor([3, 0])), tokens[..., [3, 0]])
