"""Temperature and share of the prior."""

import math

import numpy as np
import pytest
import torch
from scipy.special import log_softmax

from ptaudit.adversaries.calibration import (
    MEMBER_TOLERANCE,
    POINT_TOLERANCE,
    SHARES,
    SLOPES,
    Calibration,
    best,
    calibrated_gain,
    calibration_tables,
    cautious,
    gain,
    log_posterior_at,
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


def test_log_posterior_is_that_of_scipy():
    scores, secret = random_scores()
    other = (secret + 1) % 5
    slope = torch.tensor([0.5, 1.4], dtype=torch.float64)
    prior = torch.tensor([0.1, 0.2, 0.3, 0.15, 0.25], dtype=torch.float64).log()
    found = log_posterior_at(scores, slope, prior, secret, other)
    expected = log_softmax(scores.numpy() * slope.numpy()[:, None, None] + prior.numpy(), axis=-1)
    for log_p, s in zip(found, (secret, other)):
        np.testing.assert_allclose(log_p, expected[:, np.arange(9), s.numpy()], rtol=1e-5, atol=1e-5)


def test_scores_as_large_as_log_densities_of_real_tokens_lose_nothing():
    """Differences count, and float32 could not hold them beside an offset of 1e9."""
    scores, secret = random_scores()
    prior = uniform(5, scores)
    one = torch.ones(2, dtype=torch.float64)
    plain = log_posterior_at(scores, one, prior, secret)[0]
    shifted = log_posterior_at(scores - 1e9, one, prior, secret)[0]
    torch.testing.assert_close(plain, shifted, atol=1e-5, rtol=1e-5)


def test_the_prior_alone_is_exactly_zero_bits():
    scores, secret = random_scores()
    found = calibrated_gain(1e6 * scores, uniform(5, scores), calibration(1.0, 1.0, 2), secret)
    assert bool((found == 0.0).all())


def test_a_posterior_by_hand():
    """Likelihoods 8 : 1 : 1 give 0.8; half of it with half of the prior is 0.4 + 1/6."""
    scores = torch.tensor([[[8.0, 1.0, 1.0]]], dtype=torch.float64).log()
    found = calibrated_gain(scores, uniform(3, scores), calibration(1.0, 0.5), torch.tensor([0]))
    assert float(found) == pytest.approx(math.log2((0.4 + 1 / 6) * 3), abs=1e-6)
    cooler = calibrated_gain(scores, uniform(3, scores), calibration(1 / 3, 0.0), torch.tensor([1]))
    assert float(cooler) == pytest.approx(math.log2(3 * 1 / (2 + 1 + 1)), abs=1e-6)


def test_a_wrong_certainty_costs_no_more_than_its_share_allows():
    found = gain(torch.tensor([-1e4]), torch.tensor([0.01]), torch.tensor([-math.log(8)]))
    assert float(found) == pytest.approx(math.log2(0.01))


def test_uniform_is_the_log_of_one_in_k():
    assert uniform(7, torch.zeros(1)).exp().tolist() == pytest.approx([1 / 7] * 7)


def test_tables_hold_every_point_of_the_grid():
    scores, secret = random_scores()
    prior, wrong = uniform(5, scores), (secret + 1) % 5
    for table, s in zip(calibration_tables(scores, prior, secret, wrong), (secret, wrong)):
        assert table.shape == (2, len(SLOPES), len(SHARES))
        for i, slope in enumerate(SLOPES):
            for j, share in enumerate(SHARES):
                expected = calibrated_gain(scores, prior, calibration(slope, share, 2), s).mean(1)
                torch.testing.assert_close(table[:, i, j], expected)
        assert bool((table[:, :, -1] == 0.0).all())


def flat_table():
    return torch.full((1, len(SLOPES), len(SHARES)), -1.0, dtype=torch.float64)


def test_best_is_the_best_point_when_it_is_clear():
    table = flat_table()
    table[0, 5, 2] = 2.0
    found, value = best(table)
    assert (float(found.slope), float(found.share), float(value)) == (SLOPES[5], SHARES[2], 2.0)


def test_best_gives_up_a_little_for_a_larger_share_of_the_prior():
    table = flat_table()
    table[0, 5, 2] = 2.0
    table[0, 5, 4] = 2.0 * (1.0 - 0.9 * POINT_TOLERANCE)
    table[0, 5, 6] = 2.0 * (1.0 - 1.1 * POINT_TOLERANCE)
    found, value = best(table)
    assert float(found.share) == SHARES[4]
    assert float(value) == pytest.approx(float(table[0, 5, 4]))


def test_best_takes_the_better_slope_at_equal_share():
    """The documented order: largest share first; among slopes of that share the one with more bits wins."""
    table = flat_table()
    table[0, 2, 4] = 2.0 * (1.0 - 0.5 * POINT_TOLERANCE)
    table[0, 5, 4] = 2.0
    assert float(best(table)[0].slope) == SLOPES[5]


def test_best_of_a_hopeless_row_is_the_prior():
    table = flat_table()
    table[0, :, -1] = 0.0
    found, value = best(table)
    assert (float(found.share), float(value)) == (1.0, 0.0)


def test_best_chooses_for_each_row():
    table = torch.cat([flat_table(), flat_table()])
    table[0, 1, 1] = 1.0
    table[1, 3, 0] = 1.0
    found, _ = best(table)
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
