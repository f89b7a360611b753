"""Limits that are foretold, against the estimates whose limits they foretell: of scores in which next to nothing is."""

from __future__ import annotations

import math

import numpy as np
import pytest

from ptaudit.stats.bootstrap import from_values
from ptaudit.stats.detection import REACH
from ptaudit.stats.foretold import Foretold, auc, bits, never, rate, share
from ptaudit.stats.roc import auc_estimate, tpr_at_fpr_estimate


@pytest.mark.parametrize("sides", [(60, 60), (400, 150)])
def test_an_auc_of_noise_has_the_limit_that_is_foretold(sides):
    draw = np.random.default_rng(0)
    printed = [auc_estimate(*(draw.standard_normal(n) for n in sides), seed=0).detectable for _ in range(20)]
    assert auc(*sides).detectable - 0.5 == pytest.approx(np.mean(printed) - 0.5, rel=0.1)
    assert auc(*sides).n == sum(sides)


def test_a_rate_of_noise_has_the_limit_that_is_foretold():
    draw, sides = np.random.default_rng(0), (1000, 1000)
    printed = [
        tpr_at_fpr_estimate(*(draw.standard_normal(n) for n in sides), 0.01, seed=0).detectable for _ in range(20)
    ]
    told = rate("tpr_at_fpr_0.01", 0.01, sides, "non-members")
    assert told.detectable - 0.01 == pytest.approx(np.mean(printed) - 0.01, rel=0.4)
    short = rate("tpr_at_fpr_0.001", 0.001, sides, "non-members")
    printed_as = tpr_at_fpr_estimate(*np.zeros((2, 1000)), 0.001, seed=0).status
    assert printed_as == f"inconclusive: {short.why_not}"
    assert not short.known


def test_a_share_of_games_has_the_limit_that_is_foretold():
    draw = np.random.default_rng(0)
    won = [(draw.random(300) < 0.1).astype(float) for _ in range(20)]
    printed = [from_values(one, null=0.1, ceiling=1.0, seed=0).detectable for one in won]
    assert share("accuracy", 0.1, 300).detectable - 0.1 == pytest.approx(np.mean(printed) - 0.1, rel=0.1)


def test_bits_of_a_calibrated_adversary_that_knows_as_much_as_the_limit_have_it_as_their_own():
    """The secret is a coin; the adversary sees it plus Gaussian noise, and has the exact posterior."""
    n, draw = 500, np.random.default_rng(0)
    told = bits(n, 1.0)
    d = math.sqrt(8.0 * math.log(2.0) * told.detectable)  # a shift of d tells d^2 / (8 ln 2) bits where it is small
    secret = draw.integers(2, size=(400, n))
    seen = draw.standard_normal((400, n)) + d * secret
    ratio = np.where(secret == 1, 1.0, -1.0) * d * (seen - d / 2.0)
    values = 1.0 - np.log2(1.0 + np.exp(-ratio))
    assert values.mean() == pytest.approx(told.detectable, rel=0.05)
    printed = [from_values(one, null=0.0, ceiling=1.0, seed=0).detectable for one in values[:40]]
    assert np.mean(printed) == pytest.approx(told.detectable, rel=0.1)


@pytest.mark.parametrize("told", [auc(100, 100), share("accuracy", 0.25, 400), bits(300, 3.0)])
def test_so_many_units_have_the_value_as_their_limit(told):
    limit = told.null + (told.detectable - told.null) / 3.0
    needed = told.needed(limit)
    again = {"auc": lambda n: auc(n // 2, n // 2), "accuracy": lambda n: share("accuracy", 0.25, n), "bits": bits}
    assert again[told.metric](round(needed)).detectable == pytest.approx(limit, rel=0.01)
    assert told.needed(told.detectable) == pytest.approx(told.n)
    assert told.needed(told.null) == math.inf


def test_what_cannot_be_known_is_no_number():
    assert not Foretold("bits").known
    assert not never("needs 40 records, has 3", 3).known
    few = share("accuracy", 0.5, 4)
    assert few.detectable == pytest.approx(0.5 + REACH * 0.25)
    assert few.blind
    assert not auc(100, 100).blind
