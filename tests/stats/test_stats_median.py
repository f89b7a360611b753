"""The median and its interval: known ranks, coverage for every kind of distribution, and a record's own error."""

from __future__ import annotations

import math

import numpy as np
import pytest

from ptaudit.stats.median import LEAST_RECORDS, median


def of(values, upper=None, seed=0):
    values = np.asarray(values, float)
    return median(values, values if upper is None else np.asarray(upper, float), null=0.0, seed=seed)


def test_ten_records_are_enclosed_by_the_second_and_the_ninth():
    """P(at most one of ten below the median) is 11 / 1024 on each side: 97.9 % in between."""
    found = of(np.arange(1.0, 11.0)[::-1])
    assert (found.value, found.lo, found.hi, found.n) == (5.5, 2.0, 9.0, 10)
    assert math.isnan(found.ceiling)


def test_the_upper_end_is_that_of_what_values_are_at_most():
    found = of(np.arange(1.0, 11.0), 2.0 * np.arange(1.0, 11.0))
    assert (found.value, found.lo, found.hi) == (5.5, 2.0, 18.0)


@pytest.mark.parametrize("n", [6, 25, 64])
def test_intervals_cover_whatever_the_distribution_is(n):
    generator = np.random.default_rng(n)
    for draw, true in ((generator.standard_normal, 0.0), (generator.standard_exponential, math.log(2.0)),
                       (generator.standard_cauchy, 0.0)):  # fmt: skip
        found = [of(draw(n), seed=0) for _ in range(400)]
        covered = np.mean([one.lo <= true <= one.hi for one in found])
        assert 0.93 <= covered <= 1.0, draw


def test_draws_spread_as_the_median_does():
    generator = np.random.default_rng(0)
    samples = generator.standard_normal((200, 101))
    told = np.mean([of(sample).draws.std() for sample in samples])
    assert told == pytest.approx(np.median(samples, axis=1).std(), rel=0.2)


def test_too_few_and_what_is_not_finite_is_inconclusive():
    assert of(np.arange(LEAST_RECORDS, dtype=float)).conclusive
    assert of(np.arange(LEAST_RECORDS - 1.0)).status == "inconclusive: needs 6 records, has 5"
    assert not of([*range(9), np.nan]).conclusive
