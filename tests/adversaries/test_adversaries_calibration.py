"""Temperature and share of the prior."""

import math

import numpy as np
import pytest
import torch
from scipy.special import softmax

from ptaudit.adversaries.calibration import (
    MEMBER_TOLERANCE,
    SHARES,
    SLOPES,
    Calibration,
    at,
    calibrate,
    calibrated_gain,
    cautious,
    gain,
    mean_bits,
    shifted,
    target_bits,
    top_hit,
    uniform,
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


def by_point(scores, secret):
    """Bits of every game at every point of the grid, one point at a time: `(R, slopes, shares, G)`."""
    low, prior = shifted(scores), uniform(scores.shape[-1], scores)
    points = [[calibrated_gain(low, prior, calibration(a, b, len(low)), secret) for b in SHARES] for a in SLOPES]
    return torch.stack([torch.stack(line, 1) for line in points], 1)


def test_mean_bits_hold_every_point_of_the_grid():
    scores, secret = random_scores()
    found = mean_bits(scores, uniform(5, scores), secret)
    torch.testing.assert_close(found, by_point(scores, secret).mean(-1), atol=1e-5, rtol=1e-4)
    assert bool((found[:, :, -1] == 0.0).all())
    assert 1.0 in SLOPES


def test_target_bits_average_the_games_of_each_target():
    scores, secret = random_scores()
    wrong = (secret + 1) % 5
    found = target_bits(shifted(scores), uniform(5, scores), [secret, wrong], per_target=3)
    for bits, s in zip(found, (secret, wrong)):
        expected = by_point(scores, s).unflatten(-1, (3, 3)).mean(-1)
        torch.testing.assert_close(bits, expected, atol=1e-5, rtol=1e-4)


def grid(n=100):
    """Bits of n targets, hopeless at every point."""
    return torch.full((1, len(SLOPES), len(SHARES), n), -1.0, dtype=torch.float64)


def test_calibrate_takes_the_best_point_when_it_is_clear():
    bits = grid()
    bits[0, 5, 2] = 2.0
    found = calibrate(bits)
    assert (float(found.slope), float(found.share)) == (SLOPES[5], SHARES[2])


@pytest.mark.parametrize(("lost", "share"), [(0.9, 4), (1.1, 2)])
def test_calibrate_gives_up_one_standard_error_for_a_larger_share_of_the_prior(lost, share):
    """Of 100 targets whose loss has a standard deviation of 1, the mean loss has a standard error of 0.1."""
    bits = grid()
    spread = torch.randn(100, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    spread = (spread - spread.mean()) / spread.std()
    bits[0, 5, 2] = 2.0
    bits[0, 5, 4] = 2.0 - 0.1 * lost + spread
    assert float(calibrate(bits).share) == SHARES[share]


def test_calibrate_takes_the_slope_with_the_most_bits():
    bits = grid()
    bits[0, 2, 4], bits[0, 5, 4] = 1.99, 2.0
    assert float(calibrate(bits).slope) == SLOPES[5]


def test_calibrate_leaves_a_hopeless_row_with_the_prior():
    bits = grid()
    bits[0, :, -1] = 0.0
    assert float(calibrate(bits).share) == 1.0


def test_calibrate_chooses_for_each_row():
    bits = torch.cat([grid(), grid()])
    bits[0, 1, 1] = 1.0
    bits[1, 3, 0] = 1.0
    found = calibrate(bits)
    assert found.slope.tolist() == [SLOPES[1], SLOPES[3]]
    assert found.at(torch.tensor([1])).share.tolist() == [SHARES[0]]


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
