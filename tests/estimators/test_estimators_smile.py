from __future__ import annotations

import math

import pytest
import torch
from critic_problems import matched_mean, mismatched_mean, normal, normal_bits, optimal_scores, wide

from ptaudit.estimators.bounds import rivals
from ptaudit.estimators.infonce import InfoNCE
from ptaudit.estimators.smile import TAU, Smile, measure

RECORD = [0, 0, 1, 2, 2, 2, 3, 4, 5, 6]


def test_the_clipped_representation_by_a_double_loop() -> None:
    scores = 5.0 * torch.randn(10, 10, generator=torch.Generator().manual_seed(0))
    expected = matched_mean([float(scores[i, i]) for i in range(10)], RECORD)
    expected -= math.log(mismatched_mean(scores, RECORD, lambda f: math.exp(max(-TAU, min(TAU, f)))))
    found = Smile().means(scores[None], rivals(torch.tensor(RECORD)), torch.zeros(1, 1))
    assert found.item() == pytest.approx(expected, rel=1e-4)


def test_held_out_it_overshoots_with_the_optimal_critic_where_infonce_does_not() -> None:
    rho, d = 0.997, 3
    pairs = normal(1000, [rho], d=d)
    scores, who = optimal_scores(pairs.x[0], pairs.y[0], rho), rivals(torch.arange(1000))
    truth = normal_bits(rho, d)
    assert Smile().means(scores, who, torch.zeros(1, 1)).item() / math.log(2) > 1.15 * truth
    assert InfoNCE().means(scores, who, torch.zeros(1, 1)).item() / math.log(2) < truth


def test_its_objective_is_least_at_the_log_density_ratio() -> None:
    pairs = normal(2000, [0.8])
    scores, who = optimal_scores(pairs.x[0], pairs.y[0], 0.8), rivals(torch.arange(2000))
    best = Smile().loss(scores, who, torch.zeros(1))[0].item()
    for worse in (0.8 * scores, 1.2 * scores, scores + 0.3, scores - 0.3):
        assert Smile().loss(worse, who, torch.zeros(1))[0].item() > best


def test_normal_pairs_of_little_information() -> None:
    pairs = normal(600, [0.0, 0.6, 0.9])
    for rho, found in zip((0.0, 0.6, 0.9), measure(pairs, 0), strict=True):
        truth = normal_bits(rho)
        assert found.bits.lo <= truth <= found.bits.hi
        assert found.bits.value == pytest.approx(truth, abs=0.1 + 0.1 * truth)


def test_few_wide_tokens_do_no_harm() -> None:
    for found in measure(wide(300, 0.0), 0):
        assert found.bits.lo <= 0.0 <= found.bits.hi
        assert abs(found.bits.value) < 0.3
