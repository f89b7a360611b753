"""The attribute as an input on signed batches: the second picture of each value is what is shown of a record alone."""

import pytest
import torch
from identity_truth import gaussian
from inference_truth import SignObservation
from input_attribute_case import N, bits, coins, measured, moved, own

from ptaudit.games.attribute.known_rest import Counterfactuals


def signs(distance, seed=13):
    """Tokens, values, and what signs show of records alone with each value, `(2, 1, N, k)`."""
    candidates, secret = moved(gaussian(N, 32, seed), distance), coins()
    return candidates, secret, SignObservation(own(candidates, secret)), candidates.sign()


def test_signs_of_one_record_give_its_field_back_exactly():
    candidates, secret, now, alone = signs(2.0)
    without = bits(candidates, secret, now=now, known=Counterfactuals(now, candidates, linear=False))
    found = bits(candidates, secret, now=now, known=Counterfactuals(now, candidates, linear=False, alone=alone))
    differ = (alone[0] != alone[1]).any(-1).double().mean()
    assert differ > 0.97
    assert found.value == pytest.approx(float(differ), abs=0.005)
    assert without.value < 0.95 * found.value


def test_signs_that_are_the_same_with_any_value_tell_nothing():
    """The exact answer is that of the values whose signs are those seen, and half of the records have two of them."""
    candidates, secret, now, alone = signs(0.15)
    same = (alone[0] == alone[1]).all(-1).double().mean()
    found = bits(candidates, secret, now=now, known=Counterfactuals(now, candidates, linear=False, alone=alone))
    assert 0.2 < same < 0.8
    assert found.value == pytest.approx(1.0 - float(same), abs=0.01)


@pytest.mark.parametrize("m", [4, 8])
def test_among_others_a_second_picture_is_not_worse(m):
    candidates, secret, now, alone = signs(8.0)
    without = bits(candidates, secret, m, now=now, known=Counterfactuals(now, candidates, linear=False))
    found = bits(candidates, secret, m, now=now, known=Counterfactuals(now, candidates, linear=False, alone=alone))
    assert found.lo > 0.05
    assert found.value > without.value - 0.02


@pytest.mark.parametrize("m", [1, 4])
def test_a_view_that_shows_nothing_gives_nothing(m):
    candidates, secret, now, alone = signs(8.0)
    now = SignObservation(now.tokens, 0.0)
    found = bits(
        candidates, secret, m, now=now, known=Counterfactuals(now, candidates, linear=False, alone=0.0 * alone)
    )
    assert found.value == 0.0
    assert found.hi < 0.01


def test_pictures_of_other_records_give_nothing():
    candidates, secret, now, alone = signs(8.0)
    other = alone[:, :, torch.randperm(N, generator=torch.Generator().manual_seed(3))]
    found = bits(
        candidates.roll(7, 2), secret, now=now, known=Counterfactuals(now, candidates.roll(7, 2), False, 0.0, other)
    )
    assert found.value < 0.02
    assert abs(found.null) < 0.05


def test_a_little_that_she_cannot_compute_leaves_the_nearest_picture():
    """Some numbers are shown with another sign than what it computed, as rounding does to those near 0."""
    candidates, secret, now, alone = signs(4.0)
    flipped = torch.rand(alone.shape, generator=torch.Generator().manual_seed(4)) < 0.01
    alone = torch.where(flipped, -alone, alone)
    found = bits(candidates, secret, now=now, known=Counterfactuals(now, candidates, linear=False, alone=alone))
    assert found.lo > 0.9


def test_with_late_weights_no_picture_is_taken_for_the_very_thing_shown():
    candidates, secret, now, _ = signs(4.0)
    shifted = candidates + 0.1 * gaussian(N, 32, 21)
    late = SignObservation(own(shifted, secret))
    knows = Counterfactuals(late, shifted, linear=False, alone=shifted.sign())
    found = measured(candidates, secret, now=now, known=knows)["late-likelihood-ratio"]["bits"][0]
    assert 0.3 < found.value < 1.0
