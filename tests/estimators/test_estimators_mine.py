from __future__ import annotations

import math

import pytest
import torch
from critic_problems import matched_mean, mismatched_mean, normal, normal_bits, optimal_scores, wide

from ptaudit.estimators.bounds import rivals
from ptaudit.estimators.critics import Separable
from ptaudit.estimators.mine import RATE, DonskerVaradhan, measure
from ptaudit.estimators.start import start
from ptaudit.estimators.training import CriticPart, TrainingPlan, train

RECORD = [0, 0, 1, 2, 2, 2, 3, 4, 5, 6]


def value(scores: torch.Tensor) -> float:
    return DonskerVaradhan().means(scores, rivals(torch.arange(scores.shape[-1])), torch.zeros(1, 1)).item()


def test_the_representation_by_a_double_loop() -> None:
    scores = 1.5 * torch.randn(10, 10, generator=torch.Generator().manual_seed(0))
    expected = matched_mean([float(scores[i, i]) for i in range(10)], RECORD)
    expected -= math.log(mismatched_mean(scores, RECORD, math.exp))
    found = DonskerVaradhan().means(scores[None], rivals(torch.tensor(RECORD)), torch.zeros(1, 1))
    assert found.item() == pytest.approx(expected, rel=1e-4)


def test_a_constant_added_to_the_critic_changes_nothing() -> None:
    scores = torch.randn(1, 30, 30, generator=torch.Generator().manual_seed(0))
    assert value(scores + 40.0) == pytest.approx(value(scores), abs=1e-4)


def test_the_gradient_has_the_moving_average_in_its_denominator() -> None:
    scores = torch.randn(1, 8, 8, generator=torch.Generator().manual_seed(0)).requires_grad_()
    who = rivals(torch.arange(8))
    chance = who.chance
    average = torch.tensor([2.5])
    loss, memory = DonskerVaradhan().loss(scores, who, average)
    (gradient,) = torch.autograd.grad(loss.sum(), scores)
    mean = (scores.exp() * chance).sum().detach() / 8
    torch.testing.assert_close(memory, (1 - RATE) * average + RATE * mean)
    expected = scores.exp() * chance / 8 / memory[:, None, None] - torch.eye(8) / 8
    torch.testing.assert_close(gradient, expected.detach())
    fresh = DonskerVaradhan().loss(scores, who, torch.tensor([math.nan]))[1]
    torch.testing.assert_close(fresh, mean[None], msg="the average begins with the first batch")


def test_normal_pairs() -> None:
    pairs = normal(600, [0.0, 0.6, 0.9])
    for rho, found in zip((0.0, 0.6, 0.9), measure(pairs, 0), strict=True):
        truth = normal_bits(rho)
        assert found.bits.lo <= truth <= found.bits.hi
        assert found.bits.value == pytest.approx(truth, abs=0.1 + 0.1 * truth)


def test_few_held_out_pairs_make_it_too_large_even_with_the_optimal_critic() -> None:
    """The log of a mean is too small on average: no lower bound on a finite sample."""
    rho, d = 0.99, 3
    found = []
    for seed in range(40):
        pairs = normal(30, [rho], seed=seed, d=d)
        found.append(value(optimal_scores(pairs.x[0], pairs.y[0], rho)) / math.log(2))
    truth = normal_bits(rho, d)
    assert sum(found) / len(found) > 1.1 * truth


def test_in_sample_it_overshoots_and_held_out_it_does_not() -> None:
    """A critic trained without an end on 180 wide pairs that say nothing: bits in sample, none held out."""
    pairs = wide(300, 0.0, problems=1)
    begun, bound, critic = start(pairs), DonskerVaradhan(), Separable()
    known, stop = (torch.nonzero(pairs.part == part).flatten() for part in (0, 1))
    inside, outside = begun.pairs(known), begun.pairs(stop)
    plan = TrainingPlan(patience=1000, steps=200)
    trained = train(
        bound, critic, (CriticPart(inside, pairs.record[known]), CriticPart(outside, pairs.record[stop])), 0, plan
    )
    assert value(critic.scores(trained.last, inside, inside)) / math.log(2) > 1.0
    assert value(critic.scores(trained.last, outside, outside)) / math.log(2) < 0.3
    (found,) = measure(pairs, 0)
    assert found.bits.lo <= 0.0 <= found.bits.hi
    assert found.bits.value < 0.3


def test_matched_pairs_far_above_all_rivals_leave_a_finite_value() -> None:
    scores = torch.randn(1, 50, 50, generator=torch.Generator().manual_seed(0))
    assert value(scores + 300.0 * torch.eye(50)) == pytest.approx(30.0)


def test_one_matched_pair_far_below_does_not_outweigh_all_others() -> None:
    pairs = normal(200, [0.9])
    scores = optimal_scores(pairs.x[0], pairs.y[0], 0.9)
    before = value(scores)
    scores[0, 0, 0] = -20_000.0
    assert value(scores) == pytest.approx(before, abs=0.3)
