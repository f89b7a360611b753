"""Usable information: known answers, what each family sees and misses, nulls, coverage, records."""

import math

import numpy as np
import pytest
import torch
from usable_cases import ask, coin, exact_bits, gaussian, line, two_classes

from ptaudit.attacks.registry import OF_TOKENS
from ptaudit.attacks.usable import scores

# Known answers


@pytest.mark.parametrize("distance", [1.0, 2.0, 4.0])
def test_linear_finds_all_that_two_gaussian_classes_give(distance):
    found = ask(*two_classes(2000, 8, distance, 1))["bits"][0]
    assert found.status == "ok"
    assert found.lo <= exact_bits(distance) <= found.hi
    assert found.value == pytest.approx(exact_bits(distance), abs=0.04)


@pytest.mark.parametrize("r", [0.3, 0.9, 0.999])
def test_linear_finds_all_that_a_gaussian_line_gives(r):
    found = ask(*line(2000, 8, r, 2))["bits"][0]
    exact = -0.5 * math.log2(1 - r * r)
    assert found.lo <= exact <= found.hi
    assert found.value == pytest.approx(exact, abs=0.05)
    assert math.isnan(found.ceiling)


def test_several_numbers_are_scored_jointly():
    """A repeated coordinate adds nothing, an independent one adds its own bits."""
    tokens = gaussian(2000, 4, 3)
    one, two = (0.9 * tokens[:, i] + math.sqrt(0.19) * gaussian(2000, 1, 30 + i)[:, 0] for i in (0, 1))
    alone = ask(tokens, one)["bits"][0].value
    assert ask(tokens, torch.stack([one, -3.0 * one], 1))["bits"][0].value == pytest.approx(alone, abs=1e-3)
    assert ask(tokens, torch.stack([one, two], 1))["bits"][0].value == pytest.approx(2 * 1.198, abs=0.12)


def test_a_mixed_scale_of_the_secret_changes_nothing():
    tokens, secret = line(1000, 4, 0.8, 4)
    for family in OF_TOKENS:
        one, two = (ask(tokens, s, family)["bits"][0].value for s in (secret, 1e6 * secret - 7e6))
        assert one == pytest.approx(two, abs=1e-3)


def test_an_exact_copy_ends_at_the_floor_of_the_variance():
    tokens = gaussian(400, 4, 5)
    found = ask(tokens, tokens[:, 0])["bits"][0]
    # Nothing is left over, where the floor expects one deviation: half a nat more.
    assert found.value == pytest.approx(-0.5 * math.log2(scores.LEAST_VARIANCE) + 0.5 / math.log(2), abs=0.02)


@pytest.mark.parametrize("family", OF_TOKENS)
def test_ten_planted_classes_are_told_apart(family):
    secret = torch.arange(800) % 10
    tokens = 20.0 * torch.nn.functional.one_hot(secret, 16).double() + gaussian(800, 16, 6)
    found = ask(tokens, secret, family)
    bits, accuracy = found["bits"][0], found["accuracy"][0]
    assert bits.ceiling == pytest.approx(math.log2(10))
    assert 0.97 * bits.ceiling < bits.value <= bits.hi <= bits.ceiling
    assert bits.lo < bits.ceiling
    assert accuracy.value > 0.99
    assert accuracy.null == pytest.approx(0.1)


# What a family sees


def xor(n, k, seed):
    tokens = gaussian(n, k, seed)
    return tokens, ((tokens[:, 0] > 0) ^ (tokens[:, 1] > 0)).long()


def test_linear_misses_an_xor_that_the_others_see():
    tokens, secret = xor(1200, 2, 7)
    assert ask(tokens, secret, "linear")["bits"][0].value < 0.02
    assert ask(tokens, secret, "mlp")["bits"][0].value > 0.85
    assert ask(tokens, secret, "knn")["bits"][0].value > 0.8


def test_linear_misses_a_square_that_the_others_see():
    tokens = gaussian(1200, 2, 8)
    secret = tokens[:, 0] ** 2 + 0.1 * gaussian(1200, 1, 9)[:, 0]
    assert ask(tokens, secret, "linear")["bits"][0].value < 0.05
    assert ask(tokens, secret, "mlp")["bits"][0].value > 1.0
    assert ask(tokens, secret, "knn")["bits"][0].value > 1.0


def test_direction_is_seen_where_lengths_spread_over_orders_of_magnitude():
    secret = coin(1000, 10)
    centre = torch.zeros(2, 16, dtype=torch.float64)
    centre[0, 0] = centre[1, 1] = 6.0
    length = gaussian(1000, 1, 11).mul(3.0).exp()
    tokens = (gaussian(1000, 16, 12) + centre[secret]) * length
    for family in OF_TOKENS:
        assert ask(tokens, secret, family)["bits"][0].value > 0.75


@pytest.mark.parametrize("family", ["linear", "knn"])
def test_five_giants_hide_nothing(family):
    tokens, secret = two_classes(1000, 8, 3.0, 13)
    clean = ask(tokens, secret, family)["bits"][0].value
    tokens[:5] *= 1e4
    assert ask(tokens, secret, family)["bits"][0].value > 0.9 * clean


@pytest.mark.parametrize("scale", [1e-25, 1e25])
def test_the_unit_of_the_tokens_does_not_matter(scale):
    tokens, secret = two_classes(400, 4, 2.0, 14)
    for family in ("linear", "knn"):
        one, two = (ask(t, secret, family)["bits"][0].value for t in (tokens, scale * tokens))
        assert one == pytest.approx(two, abs=0.01)


# Nulls


@pytest.mark.parametrize("family", ["linear", "knn"])
def test_independent_secrets_give_nothing(family):
    alarms, unclipped = 0, []
    for seed in range(15):
        tokens = gaussian(400, 16, 100 + seed)
        for secret in (coin(400, 200 + seed, 4), gaussian(400, 1, 300 + seed)[:, 0]):
            found = ask(tokens, secret, family, seed=seed)["bits"][0]
            assert found.value < 0.04
            alarms += found.lo > 0.0
            unclipped.append(found.draws.mean())
    assert alarms <= 3
    assert -0.02 < np.mean(unclipped) < 0.004


@pytest.mark.slow
@pytest.mark.parametrize("family", OF_TOKENS)
def test_independent_secrets_rarely_alarm(family):
    """At most the 2.5 % of a one-sided bound, beyond chance: 12 of 200 has probability 0.004."""
    alarms = 0
    for seed in range(50):
        tokens = torch.stack([gaussian(320, 8, 10 * seed + i) for i in (1000, 1001)])
        heavy = tokens[1] / gaussian(320, 1, 10 * seed + 1002).abs()
        for secret in (coin(320, 2000 + seed, 3), gaussian(320, 1, 3000 + seed)[:, 0]):
            found = ask(torch.stack([tokens[0], heavy]), secret, family, [[0], [1]], seed=seed)["bits"]
            alarms += sum(e.lo > 0.0 for e in found)
    assert alarms <= 11


@pytest.mark.parametrize("family", OF_TOKENS)
def test_the_null_is_that_of_deranged_secrets(family):
    found = ask(*two_classes(600, 4, 4.0, 15), family)["bits"][0]
    assert found.value > 0.7
    assert abs(found.null) < 0.02


def test_the_frequent_class_is_no_leak():
    secret = (coin(600, 16, 10) == 0).long()
    found = ask(gaussian(600, 8, 17), secret)
    assert found["bits"][0].lo == 0.0
    assert found["accuracy"][0].null == pytest.approx(1 - float(secret.double().mean()))
    assert found["accuracy"][0].value <= found["accuracy"][0].null + 0.01


def test_no_token_at_all_gives_nothing():
    for family, secret in (("linear", coin(200, 18)), ("mlp", gaussian(200, 1, 19)), ("knn", coin(200, 20))):
        found = ask(torch.full((200, 4), 3.0), secret, family)["bits"][0]
        assert found.conclusive
        assert found.lo == 0.0
        assert found.value < 0.02


# Intervals


def coverage(repetitions, n):
    """How often the interval holds the truth, of classes and of scores."""
    held = np.zeros(2)
    for seed in range(repetitions):
        classes = ask(*two_classes(n, 3, 2.0, 500 + seed), seed=seed)["bits"][0]
        number = ask(*line(n, 3, 0.8, 900 + seed), seed=seed)["bits"][0]
        held += [e.lo <= exact <= e.hi for e, exact in ((classes, exact_bits(2.0)), (number, -0.5 * math.log2(0.36)))]
    return held / repetitions


def test_intervals_hold_the_truth():
    assert (coverage(30, 800) >= 0.83).all()


@pytest.mark.slow
def test_intervals_hold_the_truth_as_often_as_they_say():
    share = coverage(300, 800)
    assert (share >= 0.92).all()
    assert (share <= 0.995).all()


def test_rows_of_one_record_stay_together_and_count_once():
    """Four rows of each record: were they taken for records, identity would pass for knowledge of the secret."""
    record = torch.arange(200).repeat_interleave(4)
    secret = coin(200, 20)[record]
    tokens = 10.0 * gaussian(200, 16, 21)[record] + 0.1 * gaussian(800, 16, 22)
    honest = ask(tokens, secret, "knn", record=record)["bits"][0]
    naive = ask(tokens, secret, "knn")["bits"][0]
    assert naive.value > 0.5
    assert honest.value < 0.05
    assert honest.n == 200


def test_repeated_rows_do_not_narrow_the_interval():
    tokens, secret = two_classes(400, 4, 2.0, 23)
    once = ask(tokens, secret)["bits"][0]
    record = torch.arange(400).repeat_interleave(5)
    often = ask(tokens[record], secret[record], record=record)["bits"][0]
    assert often.n == once.n == 400
    assert often.hi - often.lo == pytest.approx(once.hi - once.lo, rel=0.15)


def test_draws_of_all_rows_share_their_resamples():
    tokens, secret = two_classes(400, 4, 2.0, 24)
    found = ask(torch.stack([tokens, tokens + 0.1 * gaussian(400, 4, 25)]), secret, groups=[[0], [1]])["bits"]
    assert np.corrcoef(found[0].draws, found[1].draws)[0, 1] > 0.9
