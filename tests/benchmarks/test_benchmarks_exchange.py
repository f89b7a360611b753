"""Statistics of the exchange rate against what is known of the laws they are fed."""

from __future__ import annotations

import math
import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))

from exchange import covered, exchange_rate, halves, spearman, within


def cases(groups: int = 60, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    measure = rng.uniform(0, 5, groups * 4)
    return measure, 3 * measure + rng.normal(0, 0.5, len(measure)), np.repeat([f"g{i}" for i in range(groups)], 4)


def test_monotone_cases_correlate_perfectly_and_unrelated_ones_do_not():
    measure, _, group = cases()
    assert spearman(measure, np.exp(measure), group).value == pytest.approx(1)
    assert spearman(measure, -measure, group).value == pytest.approx(-1)
    unrelated = spearman(measure, np.random.default_rng(9).normal(size=len(measure)), group)
    assert unrelated.lo < 0 < unrelated.hi


def test_groups_are_resampled_so_that_copies_of_a_case_narrow_nothing():
    measure, success, _ = cases(15, seed=3)
    measure, noisy = measure[:15], success[:15] + np.random.default_rng(1).normal(0, 6, 15)
    names = np.array([f"g{i}" for i in range(15)])
    once = spearman(measure, noisy, names)
    copied = spearman(np.tile(measure, 10), np.tile(noisy, 10), np.tile(names, 10))
    assert copied.value == pytest.approx(once.value)
    assert copied.hi - copied.lo == pytest.approx(once.hi - once.lo, rel=0.1)


def test_a_constant_measure_has_no_correlation():
    _, success, group = cases()
    assert math.isnan(spearman(np.ones(len(success)), success, group).value)


def test_within_a_level_what_differs_between_levels_counts_nothing():
    rng = np.random.default_rng(0)
    level = np.repeat([1.0, 2.0], 200)
    measure, success = level + rng.normal(0, 0.01, 400), level + rng.normal(0, 0.01, 400)
    assert spearman(measure, success, level.astype(str)).value > 0.7
    assert abs(within(measure, success, level)) < 0.2


def test_no_group_is_in_both_halves():
    _, _, group = cases()
    first = halves(group)
    assert not set(group[first]) & set(group[~first])
    assert first.mean() == pytest.approx(0.5)


def test_the_interval_covers_cases_that_were_not_used():
    rate = exchange_rate(*cases(100))
    measure, success, _ = cases(100, seed=8)
    assert 0.82 < covered(rate, measure, success) < 0.97
    assert rate.margin < 1.5
    assert rate(np.array([2.5]))[0] == pytest.approx(7.5, abs=0.7)


def test_too_few_cases_have_an_infinite_margin():
    assert math.isinf(exchange_rate(*cases(2)).margin)
