"""Held-out records as the own records of an adversary who learns: of use where they are like members."""

import math

import pytest
import torch
from inference_truth import observed

from ptaudit.games.attribute import latent as attribute
from ptaudit.games.common.observed_view import HeldOut
from ptaudit.games.distribution import measure as distribution
from ptaudit.games.property import measure as property
from ptaudit.gradients.matrices import BatchSums, Factors
from ptaudit.views.observation import TokenObservation
from ptaudit.views.view import View

N, MORE, WIDTH = 240, 2400, 60
GROUPS = [[0, 1, 2], [0]]


def records(seed=0):
    """Inputs, and which side of a hyperplane they are on, which takes many records to learn."""
    generator = torch.Generator().manual_seed(seed)
    inputs = torch.randn(N + MORE, WIDTH, generator=generator)
    direction = torch.randn(WIDTH, generator=generator)
    return inputs, (inputs @ direction > 0).long()


def observation(inputs):
    one = Factors(torch.ones(len(inputs), 1, 4), torch.nn.functional.pad(inputs, (0, 1), value=1.0)[:, None])
    mixing = torch.randn(WIDTH, 16, generator=torch.Generator().manual_seed(7)) / math.sqrt(16)
    token = (inputs @ mixing).double()
    return TokenObservation(torch.stack([token] * 3), 0.0, BatchSums([[one]], 0.0))


def bits(game, secret, view, held_out, *before):
    """Of all layers jointly."""
    seen = observation(records()[0][:N])
    found = game.measure(secret, *before, observed(view, seen, GROUPS, held_out=held_out, batches=2048), ["combined"])
    return found["combined"]["bits"][0]


@pytest.mark.parametrize(
    ("game", "before"),
    [(attribute, ()), (property, ()), pytest.param(distribution, ([0.1, 0.9],), marks=pytest.mark.slow)],
)
def test_more_records_of_the_same_kind_tell_more(game, before):
    inputs, side = records()
    held_out = HeldOut(side[N:], lambda: observation(inputs))
    alone, helped = (bits(game, side[:N], View("v", 2), one, *before) for one in (None, held_out))
    assert helped.value > alone.value + 0.1
    assert abs(helped.null) < 0.05


def test_records_of_another_kind_are_left_aside():
    """Their secret has nothing to do with what is seen of them."""
    inputs, side = records()
    other = side[N:][torch.randperm(MORE, generator=torch.Generator().manual_seed(1))]
    held_out = HeldOut(other, lambda: observation(inputs))
    alone, same = (bits(attribute, side[:N], View("v", 2), one) for one in (None, held_out))
    assert same.value == pytest.approx(alone.value, abs=0.05)


def test_where_they_cannot_be_seen_nothing_changes():
    side = records()[1]
    alone, same = (bits(attribute, side[:N], View("v", 2), one) for one in (None, HeldOut(side[N:], lambda: None)))
    assert (same.value, same.lo, same.hi) == (alone.value, alone.lo, alone.hi)


def test_values_that_no_audited_record_has_are_no_targets():
    inputs, side = records()
    odd = torch.cat([side[N:-200] * 5, torch.full((200,), 3)])
    held_out = HeldOut(odd, lambda: observation(inputs))
    found = bits(attribute, side[:N] * 5, View("v", 2), held_out)
    plain = bits(attribute, side[:N], View("v", 2), HeldOut(side[N:-200], lambda: observation(inputs[:-200])))
    assert found.value == pytest.approx(plain.value, abs=0.06)
