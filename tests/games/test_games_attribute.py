"""The attribute game, latent form: exact bits of planted attributes, frequencies, missing values, nulls."""

import math

import pytest
import torch
from identity_truth import gaussian, student
from inference_truth import attribute_bits, observed, planted

from ptaudit.games.attribute import latent as attribute
from ptaudit.views import View
from ptaudit.views.observation import TokenObservation

N = 2000


def measured(tokens, secret, m=1, noise=0.0, rounds=1, families=("linear",), seed=0):
    view, now = View("v", m, rounds, noise_std=noise), TokenObservation(tokens.double(), noise)
    return attribute.measure(secret, observed(view, now, seed=seed), families)


@pytest.mark.parametrize("family", ["likelihood-ratio", "linear"])
@pytest.mark.parametrize(
    ("distance", "m", "noise", "share"),
    [(2.0, 1, 0.0, 0.3), (3.0, 1, 2.0, 0.5), (8.0, 2, 0.0, 0.3), (15.0, 8, 0.0, 0.5)],
)
def test_planted_attribute(distance, m, noise, share, family):
    expected = attribute_bits(distance, m, share, noise)
    found = measured(*planted(N, 16, distance, share, 1), m, noise, families=[family])[family]["bits"][0]
    assert found.status == "ok"
    assert found.lo <= expected
    assert found.value >= 0.8 * expected


def test_a_batch_of_32_hides_most_of_it():
    """The exact bits are 0.02: the adversary finds about that, and an interval that is not much wider."""
    found = measured(*planted(N, 16, 20.0, 0.5, 2), 32)["linear"]["bits"][0]
    expected = attribute_bits(20.0, 32, 0.5)
    assert expected < 0.03
    assert found.lo <= expected
    assert found.value >= 0.6 * expected
    assert found.hi - found.lo < expected


def test_accuracy_gain_and_auc_of_a_plain_leak():
    found = measured(*planted(N, 16, 30.0, 0.3, 3))["linear"]
    share = float(planted(N, 16, 30.0, 0.3, 3)[1].double().mean())
    assert found["accuracy"][0].value > 0.99
    assert found["accuracy"][0].null == pytest.approx(1.0 - share, abs=0.01)
    assert found["gain"][0].value == pytest.approx(share, abs=0.02)
    assert found["auc"][0].value > 0.99
    entropy = -share * math.log2(share) - (1 - share) * math.log2(1 - share)
    assert found["bits"][0].ceiling == pytest.approx(entropy, abs=0.01)
    assert found["bits"][0].value > 0.97 * entropy


@pytest.mark.parametrize("tokens", [gaussian, student])
@pytest.mark.parametrize(("m", "classes"), [(1, 2), (8, 5)])
def test_random_labels_give_nothing(tokens, m, classes):
    alarms = 0
    for seed in range(4):
        labels = torch.randint(classes, (400,), generator=torch.Generator().manual_seed(70 + seed))
        for metrics in measured(tokens(400, 16, 80 + seed)[None], labels, m, seed=seed).values():
            assert metrics["bits"][0].value < 0.05
            assert abs(metrics["bits"][0].null) < 0.05
            assert abs(metrics["gain"][0].value) < 0.1
            alarms += metrics["bits"][0].lo > 0.0
    assert alarms <= 1


@pytest.mark.slow
@pytest.mark.parametrize("family", ["likelihood-ratio", "linear"])
def test_random_labels_rarely_alarm(family):
    """At most the 2.5 % of a one-sided bound, beyond chance: 5 of 60 has probability 0.02."""
    alarms = 0
    for seed in range(60):
        labels = torch.randint(3, (400,), generator=torch.Generator().manual_seed(700 + seed))
        found = measured(student(400, 16, 800 + seed)[None], labels, 2, families=[family], seed=seed)
        alarms += found[family]["bits"][0].lo > 0.0
    assert alarms <= 4


def test_records_without_the_attribute_are_no_targets_but_hide_one():
    tokens, has = planted(N, 16, 6.0, 0.5, 4)
    secret = torch.where(torch.arange(N) % 4 == 0, -1, has.long())
    view = View("v", 4)
    draw = attribute.drawing(*known(secret), view)
    batches = draw(torch.arange(N), 3000, torch.Generator().manual_seed(0))
    assert (secret[batches.members[0, :, 0]] >= 0).all()
    assert (secret[batches.members[0, :, 1:]] < 0).double().mean() == pytest.approx(0.25, abs=0.02)
    found = measured(tokens, secret, 1)["linear"]["bits"][0]
    assert found.n == int((secret >= 0).sum())
    assert found.value > 0.9


def known(secret):
    codes, values = attribute.coded(secret)
    return codes, torch.full((len(codes), values), 1.0 / values)


def test_values_are_named_by_any_whole_numbers():
    codes, values = attribute.coded(torch.tensor([7, -1, 3, 7, -5, 3]))
    assert values == 2
    assert codes.tolist() == [1, -1, 0, 1, -1, 0]


@pytest.mark.parametrize(
    ("secret", "words"),
    [
        (torch.ones(N), "one value"),
        (torch.full((N,), -1), "one value"),
        ((torch.arange(N) < 11).long(), "needs 12 records with another value than the most frequent one, has 11"),
    ],
)
def test_attributes_that_hold_no_question(secret, words):
    found = measured(gaussian(N, 16, 5)[None], secret)["linear"]["bits"][0]
    assert not found.conclusive
    assert words in found.status
