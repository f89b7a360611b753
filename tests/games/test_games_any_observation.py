"""Identity, label, usable and mutual information on any observation: adaptive, static, exact, nulls, walls."""

from __future__ import annotations

import math

import pytest
import torch
from identity_truth import gaussian, student
from torch import Tensor

from ptaudit.attacks import pairs
from ptaudit.attacks.known import Known
from ptaudit.attacks.observed_density import Effort, every_record
from ptaudit.games.identity import measure as identity
from ptaudit.games.label import measure as label
from ptaudit.games.mutual_information import measure as mutual_information
from ptaudit.games.usable_information import play as usable_information
from ptaudit.views import View, sums
from ptaudit.views.observation import TokenObservation

N = 512


class Sign:
    """The signs of a sum."""

    def __init__(self, tokens: Tensor) -> None:
        self.tokens = tokens

    def observe(self, members, generator):
        return sums(self.tokens, members).sign()


class Pruned(Sign):
    """A sum of which only the largest coordinates are kept."""

    share = 0.1

    def observe(self, members, generator):
        total = sums(self.tokens, members)
        least = total.abs().topk(int(self.share * total.shape[-1]), -1).values[..., -1:]
        return torch.where(total.abs() >= least, total, 0.0)


class Dropped(Sign):
    """Coordinates of every record are left out of the sum at random."""

    def observe(self, members, generator):
        parts = [sums(self.tokens, one) for one in members.split(1, 1)]
        return torch.stack([part * (torch.rand(part.shape, generator=generator) < 0.7) for part in parts]).sum(0)


class Blind(Sign):
    """The same whatever the batch."""

    def observe(self, members, generator):
        return self.tokens.new_ones(len(self.tokens), len(members), self.tokens.shape[-1])


class Turned(Sign):
    """A sum turned round."""

    def observe(self, members, generator):
        return -sums(self.tokens, members)


class Other(Sign):
    """A sum of which the target is not a part."""

    def observe(self, members, generator):
        return sums(self.tokens, members[:, 1:])


class Watched:
    """Remembers which records were in what was seen."""

    def __init__(self, observation) -> None:
        self.observation, self.seen = observation, []

    def observe(self, members, generator):
        self.seen.append(members)
        return self.observation.observe(members, generator)


def play(tokens, view, observation=None, known=None, candidates=128, seed=0):
    name, found = identity.measure(Known(tokens, view, observation, known), [[0]], [None], Effort(candidates), seed)
    return name, found["bits"][0]


def classed(n: int, k: int, distance: float, classes: int = 4) -> tuple[Tensor, Tensor]:
    labels = torch.randint(classes, (n,), generator=torch.Generator().manual_seed(1))
    centres = gaussian(classes, k, 9) * distance / math.sqrt(2 * k)
    return (gaussian(n, k, 3) + centres[labels])[None], labels


def classify(tokens, labels, view, observation=None, known=None, seed=0):
    name, found = label.measure(Known(tokens, view, observation, known), labels, int(labels.max()) + 1, [[0]], seed)
    return name, found["bits"][0]


# Identity


@pytest.mark.parametrize(("m", "rounds", "noise"), [(4, 1, 0.0), (8, 2, 0.0), (1, 1, 1.0), (4, 1, 2.0)])
@pytest.mark.parametrize("make", [gaussian, student])
def test_what_adds_up_is_read_as_well_as_by_the_analytic_adversary(make, m, rounds, noise):
    """It learns gain and rest from batches of its own; nothing is lost to knowing them."""
    tokens = make(N, 16, 41)[None]
    view, observation = View("v", m, rounds, noise_std=noise), TokenObservation(tokens, noise)
    analytic, (name, seen) = play(tokens, view)[1], play(tokens, view, observation, observation)
    assert name == "likelihood-ratio"
    assert seen.value >= 0.9 * analytic.value
    assert seen.lo <= analytic.hi


@pytest.mark.parametrize("kind", [Sign, Pruned])
@pytest.mark.parametrize("make", [gaussian, student])
def test_only_the_static_adversary_is_fooled(kind, make):
    """A defense that only changes the shape of what is seen: prepared on it, most of the leak is there still."""
    tokens = make(N, 64, 42)[None]
    view, observation = View("v", 8), kind(tokens)
    (name, adaptive), (other, static) = play(tokens, view, observation, observation), play(tokens, view, observation)
    assert (name, other) == ("likelihood-ratio", "likelihood-ratio")
    assert adaptive.lo > max(static.value, 0.5)
    assert adaptive.value < play(tokens, view)[1].value + 0.1
    assert abs(adaptive.null) < 0.01


def test_a_static_adversary_may_have_negative_bits_and_an_adaptive_one_not():
    tokens = gaussian(N, 16, 43)[None]
    view, observation = View("v", 4), Turned(tokens)
    assert play(tokens, view, observation)[1].hi < 0.0
    adaptive, plain = play(tokens, view, observation, observation)[1], play(tokens, view)[1]
    assert adaptive.value == pytest.approx(plain.value, rel=0.1)


def test_a_static_adversary_on_the_undefended_view_is_the_adaptive_one():
    tokens = gaussian(N, 16, 43)[None]
    for m in (1, 4):
        static, plain = play(tokens, View("v", m), TokenObservation(tokens))[1], play(tokens, View("v", m))[1]
        assert static.value == pytest.approx(plain.value, abs=0.02)


def test_a_static_adversary_who_does_not_expect_noise():
    """Its posterior is too sure; the one who knows of the noise is not."""
    tokens = gaussian(N, 16, 44)[None]
    observation = TokenObservation(tokens, 4.0)
    static = play(tokens, View("v", 1), observation)[1]
    assert static.hi < 0.0
    assert play(tokens, View("v", 1, noise_std=4.0))[1].value >= 0.0


def test_signs_of_one_record_are_exact():
    """Uniform over the candidates with the same signs."""
    tokens = gaussian(N, 3, 45)[None]
    observation = Sign(tokens)
    name, found = play(tokens, View("v", 1), observation, observation, 64)
    assert name == "exact"
    # Eight patterns, each with 1/8 of the 63 rivals.
    assert found.value == pytest.approx(6.0 - math.log2(1 + 63 / 8), abs=0.1)


@pytest.mark.parametrize("m", [1, 4])
def test_a_random_view_is_no_exact_one(m):
    tokens = gaussian(N, 16, 46)[None]
    observation = Dropped(tokens)
    name, found = play(tokens, View("v", m), observation, observation)
    assert name == "likelihood-ratio"
    assert found.conclusive
    plain = play(tokens, View("v", m))[1]
    assert 0.3 * plain.value < found.value < 0.98 * plain.value


@pytest.mark.parametrize("kind", [Blind, Other])
def test_an_observation_without_the_target_gives_nothing(kind):
    tokens = gaussian(N, 16, 47)[None]
    observation = kind(tokens)
    found = play(tokens, View("v", 4), observation, observation)[1]
    assert found.value <= 0.01
    assert found.lo == 0.0
    assert play(tokens, View("v", 4), observation)[1].value <= 0.01


def test_late_weights_cost_bits():
    """It prepares with the tokens of weights that have moved on since."""
    late = gaussian(N, 32, 48)[None]
    now = 0.8 * late + 0.6 * gaussian(N, 32, 49)[None]
    view = View("v", 4)
    name, found = play(late, view, TokenObservation(now), TokenObservation(late))
    assert name == "likelihood-ratio"
    exact = play(now, view)[1]
    assert 0.1 < found.value < 0.9 * exact.value


def test_a_fixed_batch_tells_no_more_in_many_rounds():
    """The same sum again: without noise nothing is added, and the calibration says so; with noise it is averaged."""
    tokens = gaussian(N, 16, 50)[None]
    one, fixed, fresh = (
        play(tokens, View("v", 4, rounds, fixed_batch=same))[1] for rounds, same in ((1, False), (4, True), (4, False))
    )
    assert fixed.value == pytest.approx(one.value, rel=0.1)
    assert fresh.lo > 1.5 * one.value
    noisy = [play(tokens, View("v", 2, rounds, noise_std=4.0, fixed_batch=True))[1].value for rounds in (1, 4)]
    assert noisy[1] > 1.5 * noisy[0]
    observation = Sign(tokens)
    shown = play(tokens, View("v", 4, 4, fixed_batch=True), observation, observation)[1]
    assert shown.value == pytest.approx(play(tokens, View("v", 4), observation, observation)[1].value, rel=0.15)


def test_more_clients_hide_more():
    tokens = gaussian(N, 16, 51)[None]
    one, four = (play(tokens, View("v", 2, users=u))[1].value for u in (1, 4))
    assert four < 0.5 * one
    assert play(tokens, View("v", 8))[1].value == four
    reason = play(tokens, View("v", 8, users=8))[1].status
    assert reason == "inconclusive: needs 1280 records for batches of 64, has 512 (2048 advised)"


def test_she_prepares_on_records_that_are_not_played():
    """What is seen in each half: first each record alone, then its own in batches, then the games, all disjoint."""
    tokens = gaussian(N, 4, 52)[None]
    observation, known = Watched(Sign(tokens)), Watched(Sign(tokens))
    identity.measure(Known(tokens, View("v", 4), observation, known), [[0]], [None], Effort(64))
    alone, *own = known.seen
    assert alone.shape == (N, 1)
    its_own = [set(members.flatten().tolist()) for members in own]
    played = [set(members.flatten().tolist()) for members in observation.seen]
    half = len(own) // 2
    for mine, theirs in ((its_own[:half], played[: len(played) // 2]), (its_own[half:], played[len(played) // 2 :])):
        assert not set().union(*mine) & set().union(*theirs)
    for members in observation.seen:
        assert not set(members[:, 0].tolist()) & set(members[:, 1:].flatten().tolist())


def test_observation_of_several_rows_and_groups():
    tokens = torch.stack([gaussian(N, 16, 53), gaussian(N, 16, 54), torch.zeros(N, 16, dtype=torch.float64)])
    observation = Sign(tokens)
    _, found = identity.measure(
        Known(tokens, View("v", 4), observation, observation), [[0, 1, 2], [0], [1], [2]], [None] * 4, Effort(64)
    )
    joint, one, two, dead = (e.value for e in found["bits"])
    assert joint >= 0.8 * max(one, two) > 0.0
    assert dead == pytest.approx(0.0, abs=1e-3)


# Label


@pytest.mark.parametrize("m", [1, 4])
def test_labels_of_what_adds_up_are_read_as_well(m):
    tokens, labels = classed(2 * N, 16, 4.0)
    observation = TokenObservation(tokens)
    analytic = classify(tokens, labels, View("v", m))[1]
    name, seen = classify(tokens, labels, View("v", m), observation, observation)
    assert name == "likelihood-ratio"
    assert seen.value == pytest.approx(analytic.value, rel=0.1)
    assert abs(seen.null) < 0.01


@pytest.mark.parametrize(("kind", "m"), [(Sign, 4), (Pruned, 1), (Turned, 2)])
def test_labels_only_fool_the_static_adversary(kind, m):
    tokens, labels = classed(2 * N, 64, 3.5)
    observation = kind(tokens)
    name, static = classify(tokens, labels, View("v", m), observation)
    adaptive, plain = (
        classify(tokens, labels, View("v", m), observation, observation)[1],
        classify(tokens, labels, View("v", m))[1],
    )
    assert name == "likelihood-ratio"
    assert adaptive.lo > static.value
    assert 0.2 * plain.value < adaptive.value < plain.value + 0.1
    assert static.value < 0.0 or kind is not Turned


@pytest.mark.parametrize("kind", [Blind, Other])
def test_labels_of_a_target_that_is_not_seen(kind):
    tokens, labels = classed(N, 16, 4.0)
    observation = kind(tokens)
    assert classify(tokens, labels, View("v", 4), observation, observation)[1].value <= 0.01


# Usable and mutual information


@pytest.mark.parametrize("rounds", [1, 2])
def test_pairs_on_an_observation_are_the_sums_that_it_shows(rounds):
    tokens, parts = gaussian(64, 3, 60)[None], [torch.arange(40), torch.arange(40, 64)]
    view = View("v", 4, rounds)
    plain, seen = (
        pairs.draw(every_record(tokens, 0.0, observation), parts, [2, 1], view, torch.Generator().manual_seed(0))
        for observation in (None, TokenObservation(tokens))
    )
    assert torch.allclose(plain.views, seen.views)
    assert torch.equal(plain.record, seen.record)


def test_usable_information_on_a_observation():
    tokens, labels = classed(N, 16, 6.0)
    everyone = torch.arange(N)

    def bits(observation):
        encoded = pairs.Encoded(tokens, everyone, View("v", 2), lambda seen: seen, [[0]], observation)
        found = usable_information.measure(encoded, labels, ["linear"])
        return found["linear"]["bits"][0].value

    plain, signed, blind = bits(None), bits(Sign(tokens)), bits(Blind(tokens))
    assert bits(TokenObservation(tokens)) == pytest.approx(plain, abs=0.02)
    assert 0.3 * plain < signed < plain
    assert blind <= 0.01


def test_mutual_information_on_a_observation():
    tokens = gaussian(N, 4, 61)[None]
    everyone = torch.arange(N)

    def bits(observation):
        encoded = pairs.Encoded(tokens, everyone, View("v", 2), lambda seen: seen, [[0]], observation)
        found = mutual_information.measure(encoded, tokens[0].float(), [math.inf], {"gaussian": {}})
        return found["gaussian"]["bits"][0].value

    plain, signed, blind = bits(None), bits(Sign(tokens)), bits(Other(tokens))
    assert bits(TokenObservation(tokens)) == pytest.approx(plain, abs=0.05)
    assert 0.2 * plain < signed < plain
    assert blind <= 0.1
