"""Densities of a statistic: nothing from nothing, nearly everything from a perfect one, classes of visibility apart."""

import math

import pytest
import torch
from attack_cases import generator

from ptaudit.attacks.density import BINS, cells, fit_densities

K = 64
TOP = math.log2(K)


def drawn(games, seed):
    return torch.randint(0, K, (games,), generator=generator(seed)), generator(seed + 1000)


def bits(scores, secret):
    """Of a posterior that takes the log-likelihood ratios as they are, each game."""
    return TOP + torch.log_softmax(scores.double(), 1).gather(1, secret[:, None]).squeeze(1) / math.log(2.0)


def held_out(make, games=512, seed=0):
    """Bits on games that the densities were not counted on."""
    found = []
    for part in (0, 1):
        secret, g = drawn(games, seed + part)
        found.append((*make(secret, g), secret))
    (statistic, visibility, secret), (other, seen, asked) = found
    return bits(fit_densities(statistic, visibility, secret).scores(other, seen), asked)


@pytest.mark.parametrize("seed", range(5))
def test_a_statistic_that_is_independent_gives_nothing(seed):
    """Neither as it is, nor where it depends on visibility alone; uncalibrated counting may cost a little."""

    def same(secret, g):
        shape = len(secret), K
        return torch.randn(shape, generator=g) - 2.0, 2.0 + torch.rand(shape, generator=g)

    def visible(secret, g):
        visibility = 6.0 * torch.rand(len(secret), K, generator=g) - 1.5
        return -visibility + 0.1 * torch.randn(visibility.shape, generator=g), visibility

    for make in (same, visible):
        found = held_out(make, 2048, seed)
        assert -0.08 < float(found.mean()) < 3.0 * float(found.std()) / len(found) ** 0.5


def test_a_perfect_statistic_gives_nearly_everything():
    """A member is at rounding, all others near 1: lost is what the first count of an unseen cell costs."""

    def make(secret, g):
        values = 0.2 * torch.randn(len(secret), K, generator=g)
        values.scatter_(1, secret[:, None], -6.5 + 0.3 * torch.randn(len(secret), 1, generator=g))
        return values, torch.full_like(values, 3.5)

    assert float(held_out(make).mean()) > 0.97 * TOP


def test_members_that_are_lost_look_like_all_others():
    """Half of the candidates are visible: the others' games cost no more than what is not known of them."""

    def make(secret, g):
        visibility = torch.where(torch.rand(len(secret), K, generator=g) < 0.5, 3.5, -3.0)
        values = 0.2 * torch.randn(len(secret), K, generator=g)
        clear = visibility.gather(1, secret[:, None]) > 0
        own = torch.where(clear, -6.5, values.gather(1, secret[:, None]))
        return values.scatter_(1, secret[:, None], own), visibility

    found = held_out(make, 2048)
    assert 0.97 * (0.5 * TOP + 0.5 * 1.0) < float(found.mean()) < 0.5 * TOP + 0.5 * 1.0 + 0.15


def test_ratios_are_finite_and_those_of_the_counts(monkeypatch):
    monkeypatch.setattr("ptaudit.attacks.density.NEIGHBOUR", 0.0)
    secret = torch.tensor([0, 1, 1])
    statistic = torch.tensor([[-7.0, 0.0], [0.0, -7.0], [0.0, 0.0]])
    visibility = torch.full((3, 2), 5.0)
    density = fit_densities(statistic, visibility, secret)
    assert bool(torch.isfinite(density.table).all())
    ratio = density.scores(torch.tensor([[-7.0, 0.0]]), visibility[:1])[0]
    # Members: two of three at -7; others: none of three there, and one more spread as those of all classes.
    low = 1.0 / BINS / 4.0 / 4.0
    high = (3.0 + (3.0 + 1.0 / BINS) / 4.0) / 4.0
    assert float(ratio[0]) == pytest.approx(math.log((2.0 + low) / 4.0 / low), rel=1e-5)
    assert float(ratio[1]) == pytest.approx(math.log((1.0 + high) / 4.0 / high), rel=1e-5)


def test_one_false_exclusion_costs_finite_bits():
    """512 members were at rounding, the next one is not."""
    secret, g = drawn(512, 3)
    values = 0.2 * torch.randn(512, K, generator=g)
    values.scatter_(1, secret[:, None], -6.5)
    density = fit_densities(values, torch.full_like(values, 3.5), secret)
    lost = bits(density.scores(0.2 * torch.randn(1, K, generator=g), torch.full((1, K), 3.5)), torch.tensor([5]))
    assert -16.0 < float(lost) < 1.0


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, 1e30, -1e30])
def test_what_is_not_finite_has_a_cell(value):
    place = cells(torch.tensor([value]), torch.tensor([value if not math.isnan(value) else 0.0]))
    assert 0 <= int(place) < 9 * BINS
    assert (int(place) % BINS == 0) == (value < 0)


def test_classes_of_visibility_do_not_mix():
    """Members seen in one class only: others' ratios are 0 but for that."""
    secret = torch.zeros(64, dtype=torch.long)
    statistic = torch.zeros(64, 8)
    statistic[:, 0] = -7.0
    visibility = torch.full((64, 8), 3.5)
    visibility[:, 4:] = 0.7
    density = fit_densities(statistic, visibility, secret)
    assert float(density.scores(torch.tensor(-7.0), torch.tensor(3.5))) > 3.0
    assert float(density.scores(torch.tensor(-7.0), torch.tensor(0.7))) == pytest.approx(0.0, abs=1e-6)
