"""The runner of games about a batch: parts share no records, rounds, own records, static and adaptive adversaries."""

import math

import pytest
import torch
from inference_truth import SignObservation, Wrapped, attribute_bits, observed, planted

from ptaudit.games.attribute import latent as attribute
from ptaudit.games.common import batch_secret as inference
from ptaudit.games.common import batches as parts
from ptaudit.games.common.batches import Batches
from ptaudit.games.common.observed_view import asked
from ptaudit.games.property import measure as property
from ptaudit.views import View
from ptaudit.views.observation import TokenObservation

N = 1200
FAMILIES = ["likelihood-ratio", "linear"]


def measured(
    tokens, secret, m=1, noise=0.0, rounds=1, families=("linear",), seed=0, own=None, fixed=False, observation=None
):
    view = View("v", m, rounds, noise_std=noise, fixed_batch=fixed)
    now = observation or TokenObservation(tokens, noise)
    return attribute.measure(secret, observed(view, now, own=own, seed=seed), families)


# Draws


@pytest.mark.parametrize("own", [None, 150])
@pytest.mark.parametrize("m", [1, 8])
def test_parts_share_no_records_and_each_has_its_share_of_the_values(own, m):
    secret = (torch.arange(N) % 10 == 0).long()
    view = View("v", m)
    draw = attribute.drawing(secret, torch.full((N, 2), 0.5), view)
    halves = inference.draw_halves(draw, secret, observed(view, None, own=own), torch.Generator().manual_seed(0))
    played = []
    for half in halves:
        parts = [set(b.members.flatten().tolist()) for b in (half.fit, half.choose, half.played)]
        assert sum(map(len, parts)) == len(set.union(*parts))
        assert len(parts[0] | parts[1]) <= (own or N // 2)
        for batches in (half.fit, half.choose, half.played):
            targets = batches.unit.unique()
            assert float(secret[targets].double().mean()) == pytest.approx(0.1, abs=0.03)
        played.append(parts[2])
    assert not played[0] & played[1]
    assert len(played[0] | played[1]) == N


def test_batches_hold_the_target_and_distinct_others():
    view = View("v", 6, rounds=3)
    records = torch.arange(100, 140)
    for targets in (torch.arange(100, 140).repeat(50), torch.arange(200, 240).repeat(50)):
        members = parts.with_others(targets, records, view, torch.Generator().manual_seed(1))
        assert members.shape == (3, 2000, 6)
        assert (members[..., 0] == targets).all()
        assert (members.sort(-1).values.diff() > 0).all()
        assert torch.isin(members[..., 1:], records).all()
        # Every record is as often among the others as any other.
        times = torch.bincount(members[..., 1:].flatten(), minlength=240)[100:140].double()
        expected = members[..., 1:].numel() / 40
        assert float(((times - expected).square() / expected).sum()) < 80  # chi-square, 39 degrees of freedom


@pytest.mark.parametrize(("pool", "size"), [(50, 3), (50, 40), (7, 7), (5, 0)])
def test_distinct_numbers(pool, size):
    drawn = parts.distinct(pool, 500, size, torch.Generator().manual_seed(2))
    assert drawn.shape == (500, size)
    assert all(len(set(row)) == size for row in drawn.tolist())
    assert drawn.numel() == 0 or 0 <= int(drawn.min()) <= int(drawn.max()) < pool


def test_shuffling_gives_every_target_the_secret_of_another():
    unit = torch.arange(20).repeat(30)
    batches = Batches(unit[None, :, None], unit.clone(), torch.full((600, 20), 0.05), unit)
    wrong = inference.mismatched(batches, torch.Generator().manual_seed(3))
    assert (wrong != unit).all()
    assert (torch.bincount(wrong) == 30).all()


@pytest.mark.parametrize(
    ("view", "own", "words"),
    [
        (View("v", 64), None, "needs 1280 records for batches of 64, has 1200 (2048 advised)"),
        (View("v", 8, rounds=8), None, "needs 1280 records for batches of 8 in 8 rounds"),
        (View("v", 8, users=8), None, "needs 1280 records for batches of 64"),
        (View("v", 8), 47, "needs 48 records of the adversary's own for batches of 8, it has 47"),
    ],
)
def test_too_few_records_are_inconclusive_with_the_number_needed(view, own, words):
    tokens, has = planted(N, 8, 3.0, 0.5, 4)
    now = TokenObservation(tokens)
    found = attribute.measure(has.long(), observed(view, now, [[0], [0]], plain=now, own=own), FAMILIES)
    assert set(found) == {"likelihood-ratio", "linear", "static-likelihood-ratio", "static-linear"}
    for metrics in found.values():
        assert tuple(metrics) == inference.METRICS
        for estimates in metrics.values():
            assert len(estimates) == 2
            assert not estimates[0].conclusive
            assert words in estimates[0].status


def test_a_fixed_batch_needs_no_more_records_for_more_rounds():
    assert inference.why_not_played(N, View("v", 32, rounds=8, fixed_batch=True)) == ""


# Rounds


def test_rounds_of_a_fixed_batch_are_one_round_with_less_noise():
    tokens, has = planted(N, 16, 4.0, 0.5, 5)
    four = measured(tokens, has.long(), 2, 4.0, rounds=4, fixed=True)["linear"]["bits"][0]
    one = measured(tokens, has.long(), 2, 2.0)["linear"]["bits"][0]
    assert four.value == pytest.approx(one.value, abs=1e-9)
    unknown = Wrapped(TokenObservation(tokens, 4.0))
    looked = measured(tokens, has.long(), 2, 4.0, rounds=4, fixed=True, observation=unknown)["linear"]["bits"][0]
    assert looked.lo < one.value < looked.hi
    assert one.value == pytest.approx(attribute_bits(4.0, 2, 0.5, 2.0), abs=0.06)


def test_a_fixed_batch_without_noise_tells_the_same_in_every_round():
    tokens, has = planted(N, 16, 4.0, 0.5, 6)
    one, four = (measured(tokens, has.long(), 4, rounds=r, fixed=True)["linear"]["bits"][0].value for r in (1, 4))
    assert four == pytest.approx(one, abs=1e-9)


@pytest.mark.parametrize("family", FAMILIES)
def test_more_rounds_tell_more(family):
    tokens, has = planted(N, 16, 5.0, 0.5, 7)
    one, four = (measured(tokens, has.long(), 8, rounds=r, families=[family])[family]["bits"][0] for r in (1, 4))
    assert four.lo > one.value


# What the adversary knows


@pytest.mark.parametrize("family", FAMILIES)
def test_fewer_records_of_her_own_are_no_better(family):
    tokens, has = planted(2400, 64, 3.0, 0.5, 8)
    all_, some, few = (
        measured(tokens, has.long(), 2, own=own, families=[family])[family]["bits"][0] for own in (None, 240, 60)
    )
    assert all_.value >= some.value - 0.03
    assert some.value >= few.value - 0.03
    assert all_.value > few.value + 0.03


def test_late_weights_are_no_better_than_exact_ones():
    tokens, has = planted(N, 16, 4.0, 0.5, 9)
    now = TokenObservation(tokens)
    late = TokenObservation(tokens + 0.5 * torch.randn(1, 1, 16, generator=torch.Generator().manual_seed(1)).double())
    turned = TokenObservation(torch.roll(tokens, 1, -1) * torch.tensor([1.0, -1.0] * 8).double())
    view = View("v", 1)
    exact, shifted, useless = (
        attribute.measure(has.long(), observed(view, now, known=known), ["linear"]) for known in (None, late, turned)
    )
    assert [list(found) for found in (exact, shifted, useless)] == [["linear"], ["late-linear"], ["late-linear"]]
    bits = [next(iter(found.values()))["bits"][0].value for found in (exact, shifted, useless)]
    assert bits[0] > bits[1] > 0.1
    assert bits[2] < 0.05


@pytest.mark.parametrize("family", FAMILIES)
def test_under_signs_the_static_adversary_is_wrong_and_the_adaptive_one_is_not(family):
    tokens, has = planted(N, 64, 12.0, 0.5, 10)
    tokens = 0.1 * tokens + 0.03
    now, plain, view = SignObservation(tokens, 5.0), TokenObservation(tokens), View("v", 8)
    found = property.measure(has, observed(view, now, plain=plain), [family])
    adaptive, static = found[family]["bits"][0], found["static-" + family]["bits"][0]
    undefended = property.measure(has, observed(view, plain), [family])[family]["bits"][0]
    assert static.value < 0.0
    assert static.lo < static.value
    assert adaptive.lo > 0.1
    assert adaptive.value <= undefended.value + 0.02
    assert [who.key for who in asked([family], plain)] == list(found)
    assert [who.mistaken for who in asked([family], plain)] == [False, True]


# Bad input and sameness


def test_tokens_that_are_not_finite_spoil_their_line_only():
    tokens, has = planted(N, 16, 4.0, 0.5, 11)
    bad = tokens.clone()
    bad[0, 3, 2] = math.nan
    now, view = TokenObservation(torch.cat([tokens, bad])), View("v", 2)
    found = attribute.measure(has.long(), observed(view, now, [[0], [1]]), ["linear"])["linear"]["bits"]
    assert found[0].conclusive
    assert not found[1].conclusive
    assert "not finite" in found[1].status


def test_the_same_seed_gives_the_same_numbers():
    tokens, has = planted(N, 16, 3.0, 0.5, 12)
    one, same, other = (measured(tokens, has.long(), 2, 1.0, seed=seed)["linear"]["bits"][0] for seed in (1, 1, 2))
    assert one == same
    assert one.value != other.value


def test_joint_line_takes_the_leaky_row():
    tokens, has = planted(N, 16, 5.0, 0.5, 13)
    quiet = planted(N, 16, 0.0, 0.5, 14)[0]
    now, view = TokenObservation(torch.cat([quiet, tokens])), View("v", 1)
    found = attribute.measure(has.long(), observed(view, now, [[0], [1], [0, 1]]), ["linear"])["linear"]["bits"]
    assert found[0].value < 0.05
    assert found[1].value > 0.8
    assert found[2].value == found[1].value
