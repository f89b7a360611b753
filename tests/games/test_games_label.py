"""The label game: known bits of Gaussian classes, nulls, class frequencies, heavy tails, statuses."""

import math

import numpy as np
import pytest
import torch
from identity_truth import gaussian, student
from scipy.stats import binom, norm

from ptaudit.attacks.known import Known
from ptaudit.games.label import measure as label
from ptaudit.views import View

N = 1024


def measured(tokens, labels, m=1, noise=0.0, classes=2, seed=0, rounds=1, groups=((0,),)):
    rows = tokens if tokens.dim() == 3 else tokens[None]
    view = View("v", m, rounds, noise_std=noise)
    name, found = label.measure(Known(rows.double(), view), labels, classes, groups, seed)
    assert name == "likelihood-ratio"
    return found


def drawn_labels(n, share, seed):
    generator = torch.Generator().manual_seed(seed)
    return (torch.rand(n, generator=generator) < share).long()


def two_classes(n, k, distance, seed, share=0.5):
    """Unit Gaussian classes whose centres lie `distance` apart along a diagonal."""
    labels = drawn_labels(n, share, 1000 + seed)
    shift = distance / math.sqrt(k)
    return gaussian(n, k, seed) + shift * labels[:, None], labels


def exact_bits(distance, m, noise, share=0.5):
    """I(class; sum) of the classes above: only the axis between the centres tells, and there the sum of m is a mixture.

    Of the m-1 others j are of class 1 with binomial probability; the sum then has variance m + noise^2.
    """
    j = np.arange(m)
    weight = binom.pmf(j, m - 1, share)
    scale = math.sqrt(m + noise**2)
    grid = np.linspace(-10 * scale, 10 * scale + m * distance, 20_001)
    given = [(weight[:, None] * norm.pdf(grid, (j[:, None] + y) * distance, scale)).sum(0) for y in (0, 1)]
    prior = np.array([1 - share, share])
    joint = prior[:, None] * np.array(given)
    total = joint.sum(0)
    with np.errstate(divide="ignore", invalid="ignore"):
        terms = np.where(joint > 0, joint * np.log2(joint / (prior[:, None] * total)), 0.0)
    return float(terms.sum() * (grid[1] - grid[0]))


# Known answers


@pytest.mark.parametrize(
    ("distance", "m", "noise", "share"),
    [
        (2.0, 1, 0.0, 0.5),
        (3.0, 1, 2.0, 0.5),
        (4.0, 2, 0.0, 0.5),
        (4.0, 4, 1.0, 0.5),
        (3.0, 1, 0.0, 0.2),
        (6.0, 2, 3.0, 0.3),
    ],
)
def test_two_gaussian_classes(distance, m, noise, share):
    expected = exact_bits(distance, m, noise, share)
    found = measured(*two_classes(2 * N, 16, distance, 1, share), m, noise)["bits"][0]
    assert found.status == "ok"
    assert found.lo <= expected
    assert found.value >= 0.85 * expected
    assert found.hi - found.lo < 0.25


def test_several_rounds_tell_more():
    """Two sums with the same target: on the axis between the centres, their mean is all that tells."""
    tokens, labels = two_classes(N, 16, 3.0, 2)
    one, two = (measured(tokens, labels, 1, 4.0, rounds=r)["bits"][0].value for r in (1, 2))
    # At m = 1 both rounds hold the same token: its own scatter stays, the variance of the noise is halved.
    assert two == pytest.approx(exact_bits(3.0, 1, 4.0 / math.sqrt(2)), rel=0.25)
    assert two > one


def test_leakage_falls_with_the_batch_and_with_noise():
    tokens, labels = two_classes(N, 16, 4.0, 3)
    by_batch = [measured(tokens, labels, m)["bits"][0].value for m in (1, 2, 8, 32)]
    by_noise = [measured(tokens, labels, 2, s)["bits"][0].value for s in (0.0, 2.0, 8.0)]
    assert by_batch == sorted(by_batch, reverse=True)
    assert by_noise == sorted(by_noise, reverse=True)
    assert by_batch[0] > 3 * by_batch[-1]
    assert by_noise[0] > 3 * by_noise[-1]


def test_ten_planted_classes_are_named_without_fail():
    labels = torch.arange(N) % 10
    tokens = 30.0 * torch.nn.functional.one_hot(labels, 16).double() + gaussian(N, 16, 4)
    found = measured(tokens, labels, classes=10)
    bits, accuracy = found["bits"][0], found["accuracy"][0]
    assert bits.value > 0.98 * bits.ceiling
    assert bits.ceiling == pytest.approx(math.log2(10), abs=1e-3)
    assert accuracy.value == 1.0
    assert accuracy.null == pytest.approx(0.1, abs=0.01)


def test_scale_mixtures_hide_no_class_at_a_batch_of_one():
    """Direction names the class, length spreads over orders of magnitude, as gradients do."""
    tokens, labels = two_classes(N, 16, 0.0, 5)
    centre = torch.zeros(2, 16, dtype=torch.float64)
    centre[0, 0] = centre[1, 1] = 6.0
    size = torch.randn(N, 1, generator=torch.Generator().manual_seed(6), dtype=torch.float64).mul(2.0).exp()
    plain = measured(tokens + centre[labels], labels)["bits"][0]
    mixed = measured((tokens + centre[labels]) * size, labels)["bits"][0]
    assert plain.value > 0.95
    assert mixed.value > 0.85
    assert mixed.hi <= mixed.ceiling


# Nulls


@pytest.mark.parametrize("tokens", [gaussian, student])
@pytest.mark.parametrize(("m", "noise", "classes"), [(1, 0.0, 2), (1, 1.0, 10), (4, 0.0, 10)])
def test_random_labels_give_nothing(tokens, m, noise, classes):
    alarms = 0
    for seed in range(5):
        labels = torch.randint(classes, (320,), generator=torch.Generator().manual_seed(70 + seed))
        found = measured(tokens(320, 16, 80 + seed), labels, m, noise, classes, seed)["bits"][0]
        assert found.value < 0.05
        assert abs(found.null) < 0.05
        alarms += found.lo > 0.0
    assert alarms <= 1


@pytest.mark.slow
@pytest.mark.parametrize("tokens", [gaussian, student])
def test_random_labels_rarely_alarm(tokens):
    """At most the 2.5 % of a one-sided bound, beyond chance: 5 of 60 has probability 0.02."""
    alarms = 0
    for seed in range(60):
        labels = torch.randint(4, (320,), generator=torch.Generator().manual_seed(700 + seed))
        alarms += measured(tokens(320, 16, 800 + seed), labels, 1, 0.0, 4, seed)["bits"][0].lo > 0.0
    assert alarms <= 4


def test_null_is_that_of_shuffled_labels():
    found = measured(*two_classes(N, 16, 4.0, 8))["bits"][0]
    assert found.value > 0.7
    assert found.null == pytest.approx(0.0, abs=0.01)


# Class frequencies


def test_ceiling_is_the_entropy_of_the_class_frequencies():
    labels = torch.tensor([0] * 9 + [1]).repeat(N // 10 + 1)[:N]
    tokens = gaussian(N, 16, 9) + 20.0 * labels[:, None]
    found = measured(tokens, labels)
    bits, accuracy = found["bits"][0], found["accuracy"][0]
    share = float(labels.double().mean())
    assert bits.ceiling == pytest.approx(-share * math.log2(share) - (1 - share) * math.log2(1 - share))
    assert bits.hi <= bits.ceiling
    assert bits.value > 0.95 * bits.ceiling
    assert accuracy.null == pytest.approx(1 - share)


def test_guessing_the_frequent_class_is_no_leak():
    labels = drawn_labels(N, 0.1, 10)
    found = measured(gaussian(N, 16, 11), labels)
    assert found["bits"][0].lo == 0.0
    assert found["accuracy"][0].value <= found["accuracy"][0].null + 0.01
    assert found["accuracy"][0].null > 0.87


def test_a_class_that_no_record_has_changes_nothing_but_the_prior():
    tokens, labels = two_classes(N, 16, 4.0, 12)
    two, ten = (measured(tokens, labels, classes=c)["bits"][0] for c in (2, 10))
    assert ten.ceiling == pytest.approx(two.ceiling)
    assert ten.value == pytest.approx(two.value, abs=0.05)


# Rows and statuses


def test_the_joint_group_takes_the_leaky_row():
    tokens, labels = two_classes(N, 16, 5.0, 13)
    quiet = gaussian(N, 16, 14)
    found = measured(torch.stack([quiet, tokens, quiet]), labels, groups=[[0], [1], [2], [0, 1, 2]])["bits"]
    assert found[0].value < 0.05
    assert found[1].value > 0.8
    assert found[3].value == found[1].value


def test_one_class_only_is_inconclusive():
    found = measured(gaussian(N, 16, 15), torch.ones(N, dtype=torch.long))
    assert all(e[0].status == "inconclusive: one class only" for e in found.values())
    assert math.isnan(found["bits"][0].value)


@pytest.mark.parametrize(("n", "m", "needed"), [(100, 8, "160"), (12, 1, "20")])
def test_too_few_records_are_inconclusive_with_the_number_needed(n, m, needed):
    found = measured(gaussian(n, 16, 16), torch.arange(n) % 2, m)["bits"][0]
    assert not found.conclusive
    assert needed in found.status


def test_tokens_that_are_not_finite_are_inconclusive():
    tokens, labels = two_classes(N, 16, 4.0, 17)
    tokens[3, 2] = math.nan
    found = measured(tokens, labels)["bits"][0]
    assert not found.conclusive
    assert "not finite" in found.status


@pytest.mark.parametrize(("m", "noise"), [(1, 0.0), (4, 0.0), (4, 1.0)])
def test_tokens_that_are_all_equal_give_nothing(m, noise):
    found = measured(torch.full((320, 16), 3.0), torch.arange(320) % 4, m, noise, 4)["bits"][0]
    assert found.conclusive
    assert found.value < 0.01
    assert found.lo == 0.0


def test_five_giants_stay_between_zero_and_the_ceiling():
    tokens, labels = two_classes(512, 16, 4.0, 18)
    tokens[:5] *= 1000.0
    for m in (1, 4):
        found = measured(tokens, labels, m)["bits"][0]
        assert 0.0 <= found.lo <= found.value <= found.hi <= found.ceiling


def test_the_same_seed_gives_the_same_numbers():
    tokens, labels = two_classes(320, 16, 2.0, 19)
    one, same, other = (measured(tokens, labels, 2, 1.0, seed=seed)["bits"][0] for seed in (1, 1, 2))
    assert one == same
    assert (one.draws == same.draws).all()
    assert one.value != other.value
