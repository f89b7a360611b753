"""Temperature and share of the prior."""

import math

import numpy as np
import pytest
import torch
from scipy.special import softmax

from ptaudit.attacks.calibration import (
    COARSE,
    FINE,
    MEMBER_TOLERANCE,
    Calibration,
    CalibrationGrid,
    at,
    calibrate,
    calibrated_gain,
    cautious,
    gain,
    mean_bits,
    shifted,
    top_hit,
    uniform,
    unseen,
)


def random_scores(rows=2, games=9, k=5, seed=0):
    generator = torch.Generator().manual_seed(seed)
    scores = 4.0 * torch.randn(rows, games, k, generator=generator, dtype=torch.float64)
    return scores, torch.randint(k, (games,), generator=generator)


def calibration(slope, share, rows=1):
    full = torch.ones(rows, dtype=torch.float64)
    return Calibration(slope * full, share * full)


def test_bits_are_those_of_the_posterior_of_scipy():
    scores, secret = random_scores()
    slope = torch.tensor([0.5, 1.4], dtype=torch.float64)
    prior = torch.tensor([0.1, 0.2, 0.3, 0.15, 0.25], dtype=torch.float64)
    found = calibrated_gain(shifted(scores), prior, Calibration(slope, torch.full((2,), 0.1)), secret)
    posterior = softmax(scores.numpy() * slope.numpy()[:, None, None] + prior.log().numpy(), axis=-1)
    mixed = 0.9 * posterior[:, np.arange(9), secret] + 0.1 * prior.numpy()[secret]
    np.testing.assert_allclose(found, np.log2(mixed / prior.numpy()[secret]), rtol=1e-5, atol=1e-5)


def test_scores_as_large_as_log_densities_of_real_tokens_lose_nothing():
    """Differences count, and float32 could not hold them beside an offset of 1e9."""
    scores, _ = random_scores()
    torch.testing.assert_close(shifted(scores), shifted(scores - 1e9), atol=1e-5, rtol=1e-5)


def test_values_of_the_secrets():
    scores, secret = random_scores()
    assert at(scores, secret).tolist() == [[float(row[g, s]) for g, s in enumerate(secret)] for row in scores]


def test_the_prior_alone_is_exactly_zero_bits():
    scores, secret = random_scores()
    found = calibrated_gain(shifted(1e6 * scores), uniform(5, scores), calibration(1.0, 1.0, 2), secret)
    assert bool((found == 0.0).all())


def test_a_posterior_by_hand():
    """Likelihoods 8 : 1 : 1 give 0.8; half of it with half of the prior is 0.4 + 1/6."""
    scores = torch.tensor([[[8.0, 1.0, 1.0]]], dtype=torch.float64).log()
    found = calibrated_gain(shifted(scores), uniform(3, scores), calibration(1.0, 0.5), torch.tensor([0]))
    assert float(found) == pytest.approx(math.log2((0.4 + 1 / 6) * 3), abs=1e-6)
    cooler = calibrated_gain(shifted(scores), uniform(3, scores), calibration(1 / 3, 0.0), torch.tensor([1]))
    assert float(cooler) == pytest.approx(math.log2(3 * 1 / (2 + 1 + 1)), abs=1e-6)


def test_a_wrong_certainty_costs_no_more_than_its_share_allows():
    found = gain(torch.tensor([-1e4]), torch.tensor([0.01]))
    assert float(found) == pytest.approx(math.log2(0.01))


def test_uniform_is_one_in_k():
    assert uniform(7, torch.zeros(1)).tolist() == pytest.approx([1 / 7] * 7)


def naive_bits(scores, prior, secret, slope, share):
    """Bits of every game of one point of the grid, in float64 and without shortcuts: `(R, G)`."""
    p = softmax(scores.numpy() * slope + prior.log().numpy(), axis=-1)
    p = (1.0 - share) * p + share * prior.numpy()
    games = np.arange(len(secret))
    return np.log2(p[:, games, secret] / prior.numpy()[secret])


@pytest.mark.parametrize("grid", [COARSE, FINE])
def test_mean_bits_hold_every_point_of_the_grid(grid):
    """Log-likelihoods of a token of 16 coordinates and of one of 256, with an offset, and a prior that is not even."""
    scores, secret = random_scores(rows=3, games=40)
    scores = scores * torch.tensor([1.0, 10.0, 300.0], dtype=torch.float64)[:, None, None] - 1e5
    prior = torch.tensor([0.1, 0.2, 0.3, 0.15, 0.25], dtype=torch.float64)
    found = mean_bits(scores, prior, secret, grid)
    assert found.shape == (3, len(grid.slopes), len(grid.shares))
    for i, slope in enumerate(grid.slopes):
        for j, share in enumerate(grid.shares):
            expected = naive_bits(scores, prior, secret, slope, share).mean(-1)
            np.testing.assert_allclose(found[:, i, j], expected, rtol=1e-4, atol=1e-5)


def test_mean_bits_are_those_of_the_posterior_that_is_played():
    scores, secret = random_scores()
    grid = CalibrationGrid(((0.5, 3),), (0.01, 0.2))
    assert grid.slopes == (0.5, 1.0, 2.0)
    found = mean_bits(scores, uniform(5, scores), secret, grid)
    for i, slope in enumerate(grid.slopes):
        for j, share in enumerate(grid.shares):
            played = calibrated_gain(shifted(scores), uniform(5, scores), calibration(slope, share, 2), secret)
            torch.testing.assert_close(found[:, i, j], played.mean(-1), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("grid", [COARSE, FINE])
def test_the_prior_alone_is_on_the_grid(grid):
    scores, secret = random_scores()
    assert grid.shares[-1] == 1.0
    assert list(grid.shares) == sorted(grid.shares)
    assert bool((mean_bits(1e6 * scores, uniform(5, scores), secret, grid)[:, :, -1] == 0.0).all())


def test_the_posterior_as_it_is_is_on_the_fine_grid():
    assert 1.0 in FINE.slopes


@pytest.mark.parametrize(("others", "records"), [(1, 9), (3, 20)])
def test_unseen_is_the_chance_of_a_new_extreme(others, records):
    """Mean number of the others that are larger than all the records, by simulation."""
    drawn = np.random.default_rng(0).standard_cauchy((100_000, records + others))
    beyond = drawn[:, records:] > drawn[:, :records].max(1, keepdims=True)
    assert unseen(others, records) == pytest.approx(others / (records + 1))
    assert beyond.sum(1).mean() == pytest.approx(unseen(others, records), rel=0.03)


def test_without_others_nothing_is_unseen():
    assert unseen(0, 100) == 0.0


def bits_of(points, sets=4):
    """Bits of one row, hopeless but at the given (slope, share) points: `(1, slopes, shares, sets)`."""
    bits = torch.full((1, len(FINE.slopes), len(FINE.shares), sets), -1.0, dtype=torch.float64)
    for (slope, share), value in points.items():
        bits[0, slope, share] = torch.as_tensor(value, dtype=torch.float64)
    return bits


def test_calibrate_takes_the_best_point_when_it_is_clear():
    found = calibrate(bits_of({(5, 2): 2.0}), 0.0)
    assert (float(found.slope), float(found.share)) == (FINE.slopes[5], FINE.shares[2])


@pytest.mark.parametrize(("lost", "share"), [(0.9, 4), (1.1, 2)])
def test_calibrate_gives_up_one_standard_error_for_a_larger_share_of_the_prior(lost, share):
    """In 4 sets of games whose loss has a standard deviation of 1, the mean loss has a standard error of 0.5."""
    spread = torch.tensor([-1.0, -1.0, 1.0, 1.0], dtype=torch.float64) * 0.75**0.5
    assert float(spread.std()) == pytest.approx(1.0)
    found = calibrate(bits_of({(5, 2): 2.0, (5, 4): 2.0 - 0.5 * lost + spread}), 0.0)
    assert float(found.share) == FINE.shares[share]


def test_calibrate_compares_within_a_set_of_games():
    """Sets of games that differ from each other say nothing of a share that loses the same in each of them."""
    easy_and_hard = torch.tensor([0.0, 1.0, 2.0, 3.0])
    found = calibrate(bits_of({(5, 2): easy_and_hard, (5, 4): easy_and_hard - 0.1}), 0.0)
    assert float(found.share) == FINE.shares[2]


def test_calibrate_takes_the_slope_with_the_most_bits():
    found = calibrate(bits_of({(2, 4): 1.99, (5, 4): 2.0}), 0.0)
    assert float(found.slope) == FINE.slopes[5]


def test_calibrate_takes_the_best_slope_of_the_share_it_keeps():
    """The larger share, not worse than the best point, has a slope of its own."""
    found = calibrate(bits_of({(5, 2): 2.0, (7, 4): 2.0, (5, 4): 1.5}), 0.0)
    assert (float(found.slope), float(found.share)) == (FINE.slopes[7], FINE.shares[4])


@pytest.mark.parametrize(
    ("least_share", "share"), [(0.0, 0.001), (0.001, 0.001), (0.0011, 0.0325), (0.0325, 0.0325), (0.033, 1.0)]
)
def test_calibrate_keeps_the_least_share_of_the_prior(least_share, share):
    """The best point that is allowed is taken, whatever a smaller share would gain."""
    found = calibrate(bits_of({(5, 1): 3.0, (3, 3): 2.0, (0, 10): 0.0}), least_share)
    assert float(found.share) == share


def test_calibrate_measures_the_loss_against_the_best_that_is_allowed():
    """One standard error below the allowed best is eligible even where the forbidden best is far above."""
    spread = torch.tensor([-1.0, -1.0, 1.0, 1.0], dtype=torch.float64)
    found = calibrate(bits_of({(5, 1): 9.0, (5, 3): 2.0, (5, 5): 1.9 + spread}), 0.01)
    assert float(found.share) == FINE.shares[5]


def test_calibrate_leaves_a_hopeless_row_with_the_prior():
    bits = bits_of({})
    bits[0, :, -1] = 0.0
    assert float(calibrate(bits, 0.0).share) == 1.0


def test_calibrate_chooses_for_each_row():
    found = calibrate(torch.cat([bits_of({(1, 1): 1.0}), bits_of({(3, 0): 1.0})]), 0.0)
    assert found.slope.tolist() == [FINE.slopes[1], FINE.slopes[3]]
    assert found.at([1]).share.tolist() == [FINE.shares[0]]


def test_cautious_takes_the_heaviest_tail_that_is_nearly_best():
    tails = torch.tensor([0.0, 1 / 30, 1 / 5, 1.0], dtype=torch.float64)
    near, far = 1.0 - 0.9 * MEMBER_TOLERANCE, 1.0 - 1.1 * MEMBER_TOLERANCE
    bits = torch.tensor([[3.0, 3.0 * near, 3.0 * near, 3.0 * far], [3.0, 1.0, 1.0, 1.0]], dtype=torch.float64)
    assert cautious(bits, tails).tolist() == [2, 0]


def test_cautious_takes_the_best_of_equal_tails():
    tails = torch.tensor([0.2, 0.2, 0.0], dtype=torch.float64)
    bits = torch.tensor([[2.97, 2.99, 3.0]], dtype=torch.float64)
    assert cautious(bits, tails).tolist() == [1]


def test_top_hit_shares_a_tie():
    scores = torch.tensor([[[1.0, 3.0, 2.0], [3.0, 3.0, 2.0], [0.0, 0.0, 0.0], [5.0, 1.0, 1.0]]])
    assert top_hit(scores, torch.tensor([1, 0, 2, 2])).tolist()[0] == pytest.approx([1.0, 0.5, 1 / 3, 0.0])
