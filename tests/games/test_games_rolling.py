"""The light identity game of a running training against known answers and against the whole one."""

from __future__ import annotations

import math

import pytest
import torch

from ptaudit.attacks.known import Known
from ptaudit.attacks.observed_density import Effort
from ptaudit.games.identity import measure as identity
from ptaudit.games.identity.rolling import rolling_bits
from ptaudit.views import View


def gaussian(rows, n, k, seed=0):
    return torch.randn(rows, n, k, generator=torch.Generator().manual_seed(seed))


def test_gaussian_tokens_give_the_bits_of_theory():
    """k/2 log2(m/(m-1)) bits at many candidates; few reference records and a light adversary cost a part of them."""
    tokens = gaussian(8, 512, 8)
    truth = 4 * math.log2(8 / 7)
    values = [estimate.value for estimate in rolling_bits(tokens)]
    assert 0.6 * truth < sum(values) / len(values) < 1.02 * truth


def test_it_is_near_the_whole_game():
    light = gaussian(1, 256, 64)
    heavy = light * gaussian(1, 256, 1, seed=1).abs() ** 3
    tokens = torch.cat([light, heavy]).double()
    whole = identity.measure(Known(tokens, View("m", 8)), [[0], [1]], [None, None], Effort(64))[1]["bits"]
    for one, other in zip(rolling_bits(tokens), whole, strict=True):
        assert 0.8 * other.value < one.value < 1.1 * other.value
        assert one.lo < one.value < one.hi <= one.ceiling == 6.0
        assert abs(one.null) < 0.05


def test_equal_tokens_tell_nothing():
    found = rolling_bits(torch.ones(1, 256, 16))[0]
    assert found.value == pytest.approx(0.0, abs=1e-9)
    assert found.conclusive


def test_records_far_apart_are_found_every_time():
    tokens = torch.zeros(1, 256, 64)
    tokens[0, :, 0] = 1e-3 * torch.arange(256)  # only one direction has what tells records apart
    quiet, loud = rolling_bits(torch.cat([tokens + 1e-6 * gaussian(1, 256, 64), gaussian(1, 256, 64)]))
    assert quiet.value < 0.5 * loud.value


def test_too_few_records_are_inconclusive_with_the_number_needed():
    found = rolling_bits(gaussian(2, 150, 16))
    assert [e.status for e in found] == ["inconclusive: needs 160 records for batches of 8, has 150 (256 advised)"] * 2
    assert all(math.isnan(e.value) for e in found)


def test_gradients_that_are_not_finite_are_inconclusive():
    tokens = gaussian(1, 200, 16)
    tokens[0, 3, 2] = math.inf
    assert rolling_bits(tokens)[0].status == "inconclusive: gradients that are not finite"


def test_it_leaves_the_global_generator_alone_and_repeats_itself():
    state, tokens = torch.get_rng_state(), gaussian(2, 200, 16)
    assert rolling_bits(tokens) == rolling_bits(tokens)
    assert torch.equal(torch.get_rng_state(), state)
