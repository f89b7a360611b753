"""The noise that halves what is found: known declines, intervals, rows that are not tied."""

import math

import pytest

from ptaudit.games.identity.play import GRID, halving_noise
from ptaudit.stats.estimate import Estimate

CEILING = 8.0
QUIET = Estimate(8.0, 7.9, 8.0, 0.0, CEILING, 100, "saturated")


def falling(half: float, width: float = 0.0):
    """Bits that fall evenly on the logarithm of the noise, four a decade, and are half of the ceiling at `half`."""

    def play(sigma):
        value = CEILING / 2.0 - 4.0 * math.log10(sigma / half)
        return [Estimate(value, value - width, value + width, 0.0, CEILING, 100, "ok")]

    return play


@pytest.mark.parametrize("half", [3e-4, 0.004, 0.05, 0.7])
def test_an_even_decline_is_read_exactly(half):
    (found,) = halving_noise([QUIET], falling(half))
    assert found.value == pytest.approx(half, rel=1e-6)
    assert found.lo == pytest.approx(found.hi) == pytest.approx(half, rel=1e-6)


def test_the_interval_is_where_that_of_the_bits_is_crossed():
    (found,) = halving_noise([QUIET], falling(0.02, width=1.0))
    assert found.lo == pytest.approx(0.02 * 10**-0.25, rel=1e-6)
    assert found.hi == pytest.approx(0.02 * 10**0.25, rel=1e-6)


@pytest.mark.parametrize(("half", "end"), [(1e-6, GRID[0]), (50.0, GRID[-1])])
def test_the_ends_of_the_grid_bound_it(half, end):
    (found,) = halving_noise([QUIET], falling(half))
    assert found.value == end


def test_who_is_far_from_the_ceiling_is_not_asked():
    far = Estimate(2.0, 1.9, 2.1, 0.0, CEILING, 100, "attack-limited")

    def play(sigma):
        pytest.fail("nobody is tied")

    assert not any(one.conclusive for one in halving_noise([far, far], play))
