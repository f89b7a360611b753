"""The limit of detection: leaks of exactly that size are found as often as it says."""

from __future__ import annotations

import math

import numpy as np
import pytest

from ptaudit.stats.bootstrap import from_matrix
from ptaudit.stats.detection import FOUND, REACH, detectable, found, standard_error
from ptaudit.stats.estimate import Estimate, inconclusive

TABLES, RECORDS, NULL = 1000, 200, 0.5
NOISES = {
    "gaussian": lambda draw: draw.standard_normal((TABLES, RECORDS)),
    "student-t5": lambda draw: draw.standard_t(5, (TABLES, RECORDS)),
    "skewed": lambda draw: draw.exponential(size=(TABLES, RECORDS)) - 1.0,
}


def measured(values, null=NULL):
    return from_matrix(values, null=null, ceiling=math.nan, seed=0)


def share_found(estimates):
    return np.mean([found(e.value, e.null, standard_error(e.value, e.lo, e.hi, e.draws)) for e in estimates])


@pytest.mark.parametrize("kind", NOISES)
@pytest.mark.parametrize("with_draws", [True, False])
def test_planted_leaks_of_the_size_of_the_limit_are_found_in_four_of_five_tables(kind, with_draws):
    draw = np.random.default_rng(1)
    before, after = NOISES[kind](draw), NOISES[kind](draw)
    limits = [e if with_draws else bare(e) for e in measured(NULL + before)]
    sizes = np.array([e.detectable for e in limits]) - NULL
    planted = measured(NULL + sizes[:, None] + after)
    assert 0.75 <= share_found(planted) <= 0.85
    assert 0.03 <= share_found(measured(NULL + after)) <= 0.07
    assert share_found(measured(NULL + sizes[:, None] / 2 + after)) < 0.5


def bare(estimate):
    """The same number as a table without draws has it: the interval alone."""
    half = 1.96 * standard_error(estimate.value, estimate.lo, estimate.hi, estimate.draws)
    numbers = (estimate.value, estimate.value - half, estimate.value + half, estimate.null, estimate.ceiling)
    return Estimate(*numbers, estimate.n, estimate.status)


def test_the_formula():
    assert pytest.approx(1.645 + 0.842, abs=1e-3) == REACH
    assert pytest.approx(1.645, abs=1e-3) == FOUND
    assert detectable(0.5, 0.1) == pytest.approx(0.5 + 0.2486, abs=1e-4)


def test_a_value_that_was_clipped_has_the_spread_of_its_draws():
    draws = np.random.default_rng(0).normal(-0.2, 0.1, 1000)
    assert Estimate(0.0, 0.0, 0.0, 0.0, 8.0, 50, draws=draws).detectable == pytest.approx(0.2486, rel=0.1)


def test_where_every_record_is_at_the_ceiling_the_interval_speaks():
    (estimate,) = from_matrix(np.full((1, 100), 8.0), null=0.0, ceiling=8.0, seed=0)
    assert estimate.detectable == pytest.approx(REACH * 8.0 * 0.03 / 1.96, rel=1e-3)


@pytest.mark.parametrize("null", [math.nan, math.inf])
def test_what_has_no_null_or_was_not_measured_has_no_limit(null):
    assert math.isnan(Estimate(0.5, 0.4, 0.6, null, 1.0, 50).detectable)
    assert math.isnan(inconclusive("too few").detectable)
