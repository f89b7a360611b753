"""Mutual and usable information of batches whose answers are known."""

from __future__ import annotations

import math

import pytest
import torch

from ptaudit.attacks.pairs import Encoded
from ptaudit.games.mutual_information import measure as mutual_information
from ptaudit.games.usable_information import play as usable_information
from ptaudit.views import View

N = 4000
EVERY = torch.arange(N)
NONE = [math.inf] * 3


def planted(hidden: float = 1.0, seed: int = 0):
    """A secret number for each record, and tokens of three layers: one shows it, one hides most of it, one has none."""
    generator = torch.Generator().manual_seed(seed)
    secret, one, two, noise = torch.randn(4, N, generator=generator, dtype=torch.float64)
    shown = (secret + hidden * one).unsqueeze(1)
    return secret.float(), torch.stack([shown, (secret + 3.0 * two).unsqueeze(1), noise.unsqueeze(1)])


def truth(view: View, hidden: float) -> float:
    """Bits that the mean of r sums of m tokens tells of one secret: a correlation of normal numbers."""
    own = hidden**2 + (view.others * (1.0 + hidden**2) + view.noise_std**2) / view.rounds
    return 0.5 * math.log2(1.0 + 1.0 / own)


def encoded(tokens, records, view, groups=((0,),)):
    """What is seen as it is."""
    return Encoded(tokens, records, view, lambda seen: seen, groups)


VIEWS = [View("one"), View("three", 3), View("rounds", 3, 4), View("noisy", 2, clip=9.0, noise_std=2.0)]


@pytest.mark.parametrize("view", VIEWS, ids=lambda view: view.name)
def test_mutual_information_of_normal_secrets(view):
    secret, tokens = planted(hidden=0.5)
    found = mutual_information.measure(encoded(tokens, EVERY, view), secret[:, None], NONE, {"gaussian": {}, "ksg": {}})
    for name, slack in (("gaussian", 0.01), ("ksg", 0.03)):
        shown, hidden, none = found[name]["bits"]
        assert shown.lo - slack <= truth(view, 0.5) <= shown.hi + slack, name
        assert hidden.lo - slack <= truth(view, 3.0) <= hidden.hi + slack, name
        assert none.lo <= 0.0 + slack, name


def test_a_batch_of_many_is_told_apart_where_candidates_are_not_among_the_others():
    """Tokens of 32 coordinates: a batch of 4 gives away 16 * log2(4/3) = 6.6 bits, of which 90 candidates show most."""
    generator = torch.Generator().manual_seed(3)
    tokens = torch.randn(1, 4096, 32, generator=generator, dtype=torch.float64)
    some = encoded(tokens, EVERY[:2000], View("four", 4))
    found = mutual_information.measure(some, tokens[0].float(), [math.inf], {"infonce": {}})
    (bits,) = found["infonce"]["bits"]
    assert bits.value > 4.4  # with the others among the candidates it was below 3.9


def test_noise_bounds_the_ceiling():
    secret, tokens = planted()
    some = encoded(tokens, EVERY, View("dp", 2, clip=1.0, noise_std=3.0))
    found = mutual_information.measure(some, secret[:, None], [0.01] * 3, {"gaussian": {}, "ksg": {}})
    for name in ("gaussian", "ksg"):
        for bits in found[name]["bits"]:
            assert bits.ceiling == 0.01
            assert 0.0 <= bits.lo <= bits.value <= bits.hi <= 0.01


def test_a_critic_finds_most_of_it_and_never_more():
    secret, tokens = planted(hidden=0.5)
    view = View("two", 2)
    found = mutual_information.measure(encoded(tokens, EVERY, view), secret[:, None], NONE, {"infonce": {}})
    shown, hidden, none = found["infonce"]["bits"]
    assert 0.75 * truth(view, 0.5) < shown.value
    assert shown.lo <= truth(view, 0.5)
    assert hidden.lo <= truth(view, 3.0)
    assert none.lo <= 0.0 <= none.hi


@pytest.mark.parametrize("view", VIEWS, ids=lambda view: view.name)
def test_usable_information_of_normal_secrets(view):
    secret, tokens = planted(hidden=0.5)
    some = encoded(tokens, EVERY, view, [[0, 1, 2], [0], [1], [2]])
    found = usable_information.measure(some, secret, ["linear"])["linear"]
    assert set(found) == {"bits"}
    joint, shown, hidden, none = found["bits"]
    assert shown.lo - 0.01 <= truth(view, 0.5) <= shown.hi + 0.01
    assert hidden.lo - 0.01 <= truth(view, 3.0) <= hidden.hi + 0.01
    assert none.lo <= 0.0
    assert joint.value == pytest.approx(shown.value, abs=0.02)


def test_usable_information_of_classes_has_their_entropy_for_a_ceiling():
    generator = torch.Generator().manual_seed(1)
    secret = torch.randint(4, (N,), generator=generator)
    tokens = torch.nn.functional.one_hot(secret).double()[None] + 0.05 * torch.randn(1, N, 4, generator=generator)
    found = usable_information.measure(encoded(tokens, EVERY, View("one"), [[0]]), secret, ["linear", "knn"])
    for family in ("linear", "knn"):
        bits, accuracy = found[family]["bits"][0], found[family]["accuracy"][0]
        assert bits.ceiling == pytest.approx(2.0, abs=0.01)
        assert bits.value > 1.9
        assert accuracy.value > 0.99
        assert accuracy.null == pytest.approx(0.25, abs=0.03)


def test_only_the_given_records_are_used():
    secret, tokens = planted()
    tokens[:, 2000:] = math.nan
    some = torch.arange(2000)
    found = mutual_information.measure(encoded(tokens, some, View("two", 2)), secret[:, None], NONE, {"gaussian": {}})
    assert all(estimate.conclusive for estimate in found["gaussian"]["bits"])


def test_too_few_records_say_how_many_are_needed():
    secret, tokens = planted()
    few = torch.arange(100)
    view = View("ten", 10)
    found = mutual_information.measure(encoded(tokens, few, view), secret[:, None], NONE, {"infonce": {}})
    assert all("needs 200 records" in estimate.status for estimate in found["infonce"]["bits"])
    usable = usable_information.measure(encoded(tokens, few, view, [[0]]), secret, ["linear"])
    assert "needs 200 records" in usable["linear"]["bits"][0].status


def test_the_upper_bound_is_the_capacity_of_the_channel():
    view = View("dp", 4, 2, clip=2.0, noise_std=3.0)
    (bound,) = mutual_information.upper(view, [5])
    assert bound.value == bound.lo == bound.hi == pytest.approx(2 * 5 / 2 * math.log2(1 + 4.0 / (5 * 9.0)))
