from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from critic_problems import matched_mean, normal, normal_bits, optimal_scores, parts, wide

from ptaudit.estimators.base import REPORT, TRAIN, Pairs
from ptaudit.estimators.bounds import rivals
from ptaudit.estimators.infonce import InfoNCE, measure
from ptaudit.stats.bootstrap import from_values

RECORD = [0, 0, 1, 2, 2, 2, 3, 4, 5, 6]


def test_the_value_is_the_posterior_of_the_true_record_by_a_double_loop() -> None:
    generator = torch.Generator().manual_seed(0)
    scores = 2.0 * torch.randn(10, 10, generator=generator)
    for share in (0.0, 0.2):
        values = []
        for i in range(10):
            total = math.exp(scores[i, i])
            for r in set(RECORD) - {RECORD[i]}:
                theirs = [math.exp(scores[i, j]) for j in range(10) if RECORD[j] == r]
                total += sum(theirs) / len(theirs)
            values.append(math.log((1 - share) * 7 * math.exp(scores[i, i]) / total + share))
        who = rivals(torch.tensor(RECORD))
        found = InfoNCE().means(scores[None], who, torch.tensor([[share]]))
        assert found.item() == pytest.approx(matched_mean(values, RECORD), rel=1e-4)


def test_the_optimal_critic_gives_the_truth_far_below_the_ceiling() -> None:
    pairs = normal(4000, [0.8])
    scores = optimal_scores(pairs.x[0, :2000], pairs.y[0, :2000], 0.8)
    values = InfoNCE().values(scores, rivals(torch.arange(2000)), torch.zeros(1))[0] / math.log(2)
    found = from_values(values.double().numpy(), null=0.0, ceiling=11.0, seed=0)
    assert found.lo <= normal_bits(0.8) <= found.hi
    assert found.hi - found.lo < 0.2


def test_no_value_is_above_the_ceiling() -> None:
    values = InfoNCE().means(100.0 * torch.eye(64)[None], rivals(torch.arange(64)), torch.zeros(1, 1)) / math.log(2)
    assert values.item() == pytest.approx(6.0, abs=1e-5)


@pytest.mark.parametrize("critic", ["separable", "joint"])
def test_normal_pairs(critic: str) -> None:
    pairs = normal(600, [0.6, 0.9], d=2)
    for rho, found in zip((0.6, 0.9), measure(pairs, 0, critic=critic), strict=True):
        assert found.bits.lo <= normal_bits(rho, 2) <= found.bits.hi
        assert found.bits.value == pytest.approx(normal_bits(rho, 2), rel=0.25)
        assert abs(found.bits.null) < 0.05
        assert found.bits.ceiling == pytest.approx(math.log2(120))
        assert found.bits.n == 120
        assert len(found.bits.draws) == 1000


def test_heavy_tails_and_odd_units_change_nothing() -> None:
    pairs = normal(300, [0.8])
    stretched = Pairs(1e3 * pairs.x.sinh().sinh(), -(pairs.y**3), pairs.record, pairs.part)
    (plain,), (odd,) = measure(pairs, 0), measure(stretched, 0)
    assert odd.bits.value == pytest.approx(plain.bits.value, abs=0.05)


def test_a_relation_without_any_correlation() -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(1, 2000, 1, generator=generator)
    sign = torch.randint(2, x.shape, generator=generator) * 2.0 - 1.0
    y = sign * 0.95 * x + math.sqrt(1 - 0.95**2) * torch.randn(x.shape, generator=generator)
    (found,) = measure(Pairs(x, y, torch.arange(2000), parts(2000)), 0)
    # One bit, the sign, is lost of what a correlation of 0.95 tells, where the two branches are apart.
    assert found.bits.value == pytest.approx(normal_bits(0.95) - 0.73, abs=0.2)


def test_classes() -> None:
    generator = torch.Generator().manual_seed(0)
    classes = torch.randint(4, (1, 500), generator=generator)
    x = classes[..., None] + 0.05 * torch.randn(1, 500, 1, generator=generator)
    sure, nothing = measure(Pairs(torch.cat([x, torch.randn_like(x)]), classes, torch.arange(500), parts(500)), 0)
    assert sure.bits.value == pytest.approx(2.0, abs=0.05)
    assert sure.bits.ceiling == pytest.approx(2.0, abs=0.05)
    assert sure.bits.value <= sure.bits.ceiling + 1e-9
    assert sure.bits.status == "saturated"
    assert nothing.bits.lo <= 0.0 <= nothing.bits.hi
    assert nothing.bits.status == "ok"


def test_independence_is_zero_within_the_interval_and_few_wide_tokens_do_no_harm() -> None:
    for found in measure(wide(300, 0.0), 0):
        assert found.bits.lo <= 0.0 <= found.bits.hi
        assert found.bits.value > -0.3
        assert found.bits.null > -0.3


def test_few_wide_tokens_that_leak() -> None:
    for found in measure(wide(400, 0.3), 0):
        assert found.bits.lo > 0.1


def test_a_relation_near_the_ceiling_is_saturated() -> None:
    (found,) = measure(normal(500, [0.99], d=4), 0)
    assert found.bits.status == "saturated"
    assert found.bits.ceiling - 1.0 < found.bits.value <= found.bits.ceiling


def test_huge_values_in_double_precision_are_ranked_like_others() -> None:
    pairs = normal(300, [0.9])
    huge = Pairs(pairs.x.double() * 1e200, pairs.y.double() * 1e-200, pairs.record, pairs.part)
    assert measure(huge, 0)[0].bits.value == pytest.approx(measure(pairs, 0)[0].bits.value, abs=0.02)


def test_several_pairs_of_a_record_count_once() -> None:
    """Every pair repeated: nothing is learned from the copies, and the interval does not shrink."""
    pairs = normal(400, [0.8])
    index = torch.arange(400).repeat_interleave(3)
    again = Pairs(pairs.x[:, index], pairs.y[:, index], pairs.record[index], pairs.part[index])
    (one,), (three,) = measure(pairs, 0), measure(again, 0)
    assert three.bits.n == one.bits.n == 80
    assert three.bits.ceiling == one.bits.ceiling
    assert three.bits.value == pytest.approx(one.bits.value, abs=0.1)
    assert three.bits.hi - three.bits.lo == pytest.approx(one.bits.hi - one.bits.lo, rel=0.3)


def test_bad_inputs_are_inconclusive_and_leave_their_neighbours_alone() -> None:
    pairs = normal(200, [0.9])
    bad = pairs.x.expand(4, -1, -1).clone()
    bad[1] = 3.0
    bad[2, 5] = math.nan
    bad[3, 5] = math.inf
    fine, constant, nan, inf = measure(Pairs(bad, pairs.y, pairs.record, pairs.part), 0)
    assert fine.bits.value == pytest.approx(measure(pairs, 0)[0].bits.value, abs=5e-3)
    assert "constant" in constant.bits.status
    for found in (constant, nan, inf):
        assert found.bits.status.startswith("inconclusive: ")
        assert math.isnan(found.bits.value)
        assert not found.matched_minus_mismatched.conclusive
    (few,) = measure(normal(52, [0.9]), 0)
    assert few.bits.status == "ok"
    (fewer,) = measure(normal(45, [0.9]), 0)
    assert fewer.bits.status == "inconclusive: 27 records to train on: needs at least 30"


def test_memorised_training_pairs_cancel_against_memorised_mismatched_ones() -> None:
    """The in-sample difference may say nothing where the held-out number says a lot."""
    (found,) = measure(wide(400, 0.3, problems=1), 0)
    assert found.bits.value > 0.3
    assert found.matched_minus_mismatched.value < found.bits.value


def optimal_coverage(repetitions: int, n: int, rho: float) -> float:
    """How often the interval around the bound of the optimal critic holds the truth."""
    hits = 0
    for seed in range(repetitions):
        pairs = normal(n, [rho], seed=seed, d=2)
        scores = optimal_scores(pairs.x[0], pairs.y[0], rho)
        values = InfoNCE().values(scores, rivals(torch.arange(n)), torch.zeros(1))[0] / math.log(2)
        found = from_values(values.double().numpy(), null=0.0, ceiling=math.log2(n), seed=seed)
        hits += found.lo <= normal_bits(rho, 2) <= found.hi
    return hits / repetitions


def test_coverage_with_the_optimal_critic() -> None:
    assert optimal_coverage(100, 200, 0.7) >= 0.89


@pytest.mark.slow
@pytest.mark.parametrize(("n", "rho"), [(100, 0.3), (200, 0.7), (500, 0.85)])
def test_coverage_with_the_optimal_critic_in_many_repetitions(n: int, rho: float) -> None:
    assert optimal_coverage(1000, n, rho) >= 0.93


def test_the_lower_end_holds_on_trained_critics() -> None:
    lows = [found.bits.lo for seed in range(3) for found in measure(normal(250, [0.3, 0.7], seed=seed), seed)]
    truth = [normal_bits(rho) for _ in range(3) for rho in (0.3, 0.7)]
    assert np.mean(np.array(lows) <= np.array(truth)) >= 5 / 6


def test_parts_do_not_mix() -> None:
    """Pairs of TRAIN may be anything: with them mismatched nothing is found in REPORT."""
    pairs = normal(500, [0.9])
    y = pairs.y.clone()
    known = pairs.part == TRAIN
    y[:, known] = torch.roll(y[:, known], 1, dims=1)
    (found,) = measure(Pairs(pairs.x, y, pairs.record, pairs.part), 0)
    assert found.bits.lo <= 0.0 <= found.bits.hi
    report = pairs.part == REPORT
    y[:, report] = torch.roll(pairs.y[:, report], 1, dims=1)
    y[:, ~report] = pairs.y[:, ~report]
    (wrong,) = measure(Pairs(pairs.x, y, pairs.record, pairs.part), 0)
    assert wrong.bits.value < 0.0
