from __future__ import annotations

import math

import pytest
import torch
from critic_problems import matched_mean, mismatched_mean, normal, normal_bits, optimal_scores, wide

from ptaudit.estimators.bounds import rivals
from ptaudit.estimators.nwj import NWJ, measure
from ptaudit.stats.bootstrap import from_values

RECORD = [0, 0, 1, 2, 2, 2, 3, 4, 5, 6]


def test_the_bound_by_a_double_loop() -> None:
    scores = 1.5 * torch.randn(10, 10, generator=torch.Generator().manual_seed(0))
    shift, cut = 0.3, math.log(7)
    held = [[min(float(f) - shift, cut) for f in row] for row in scores]
    expected = matched_mean([held[i][i] for i in range(10)], RECORD) + 1.0
    expected -= mismatched_mean(torch.tensor(held), RECORD, math.exp)
    found = NWJ().means(scores[None], rivals(torch.tensor(RECORD)), torch.tensor([[shift]]))
    assert found.item() == pytest.approx(expected, rel=1e-4)


def test_the_chosen_shift_is_the_best() -> None:
    bound, who = NWJ(), rivals(torch.arange(50))
    scores = torch.randn(1, 50, 50, generator=torch.Generator().manual_seed(0)) + 3.0
    best = bound.choices(scores, who)
    top = bound.means(scores, who, best)
    for change in (-0.1, 0.1):
        assert bound.means(scores, who, best + change).item() < top.item()


def test_normal_pairs() -> None:
    pairs = normal(600, [0.0, 0.6, 0.9])
    for rho, found in zip((0.0, 0.6, 0.9), measure(pairs, 0), strict=True):
        truth = normal_bits(rho)
        assert found.bits.lo <= truth <= found.bits.hi
        assert found.bits.value == pytest.approx(truth, abs=0.1 + 0.1 * truth)
        assert abs(found.bits.null) < 0.12


def test_few_wide_tokens_do_no_harm() -> None:
    for found in measure(wide(300, 0.0), 0):
        assert found.bits.lo <= 0.0 <= found.bits.hi
        assert found.bits.value > -0.3


def overshoots(repetitions: int, n: int, rho: float, d: int) -> float:
    """How often the lower end of the bound with the optimal critic is above the truth."""
    count = 0
    for seed in range(repetitions):
        pairs = normal(n, [rho], seed=seed, d=d)
        scores = optimal_scores(pairs.x[0], pairs.y[0], rho)
        values = NWJ().values(scores, rivals(torch.arange(n)), torch.zeros(1))[0] / math.log(2)
        found = from_values(values.double().numpy(), null=0.0, ceiling=math.log2(n), seed=seed)
        count += found.lo > normal_bits(rho, d)
    return count / repetitions


def test_the_optimal_critic_is_rarely_above_the_truth() -> None:
    assert overshoots(100, 200, 0.7, 1) <= 0.06


@pytest.mark.slow
@pytest.mark.parametrize(("rho", "d"), [(0.3, 1), (0.7, 2), (0.9, 2), (0.97, 2)])
def test_the_optimal_critic_is_rarely_above_the_truth_in_many_repetitions(rho: float, d: int) -> None:
    assert overshoots(1000, 300, rho, d) <= 0.05


def test_the_shift_does_not_depend_on_matched_pairs_far_above_all_rivals() -> None:
    scores = torch.randn(1, 50, 50, generator=torch.Generator().manual_seed(0))
    high = scores + 300.0 * torch.eye(50)
    bound, who = NWJ(), rivals(torch.arange(50))
    torch.testing.assert_close(bound.choices(high, who), bound.choices(scores, who))
    assert math.isfinite(bound.means(high, who, bound.choices(high, who)).item())
