"""Randomised response with a prior: exact probabilities, privacy, and what the prior is good for."""

import math

import numpy as np
import pytest

from ptaudit.stats.randomised_response import kept_labels, randomise, response_probabilities, response_table

PRIORS = [
    [0.25, 0.25, 0.25, 0.25],
    [0.7, 0.1, 0.15, 0.05],
    [0.5, 0.5, 0.0, 0.0],
    [1.0, 0.0, 0.0],
    [0.02, 0.9, 0.08],
    [0.3, 0.7],
]


def slow_table(prior, epsilon):
    """Algorithms 1 and 2 of the paper, word by word."""
    classes = len(prior)
    order = sorted(range(classes), key=lambda y: (-prior[y], y))
    chances = [
        math.exp(epsilon) / (math.exp(epsilon) + k - 1) * sum(prior[y] for y in order[:k])
        for k in range(1, classes + 1)
    ]
    k = max(range(1, classes + 1), key=lambda k: (round(chances[k - 1], 12), k))
    top = order[:k]
    table = np.zeros((classes, classes))
    for y in range(classes):
        for shown in top:
            if y not in top:
                table[y, shown] = 1 / k
            elif shown == y:
                table[y, shown] = math.exp(epsilon) / (math.exp(epsilon) + k - 1)
            else:
                table[y, shown] = 1 / (math.exp(epsilon) + k - 1)
    return k, table


@pytest.mark.parametrize("prior", PRIORS)
@pytest.mark.parametrize("epsilon", [0.0, 0.3, 1.0, 4.0])
def test_probabilities_are_those_of_the_paper(prior, epsilon):
    k, table = slow_table(prior, epsilon)
    assert kept_labels(prior, epsilon) == k
    np.testing.assert_allclose(response_table(prior, epsilon), table, atol=1e-12)


@pytest.mark.parametrize("prior", PRIORS)
@pytest.mark.parametrize("epsilon", [0.0, 0.5, 2.0])
def test_no_response_tells_two_labels_apart_by_more_than_epsilon(prior, epsilon):
    table = response_table(prior, epsilon)
    np.testing.assert_allclose(table.sum(1), 1.0)
    assert (table[:, None] <= math.exp(epsilon) * table[None, :] + 1e-12).all()


def test_some_prior_uses_all_of_epsilon():
    table = response_table([0.4, 0.3, 0.3], 2.0)
    assert (table.max(0) / table.min(0)).max() == pytest.approx(math.exp(2.0))


def test_priors_of_many_records_are_those_of_each():
    priors = np.random.default_rng(0).dirichlet(np.ones(5), (4, 3))
    tables = response_table(priors, 1.5)
    assert tables.shape == (4, 3, 5, 5)
    for i, j in np.ndindex(4, 3):
        np.testing.assert_allclose(tables[i, j], response_table(priors[i, j], 1.5))
    labels = np.arange(12).reshape(4, 3) % 5
    rows = response_probabilities(labels, priors, 1.5)
    for i, j in np.ndindex(4, 3):
        np.testing.assert_allclose(rows[i, j], tables[i, j, labels[i, j]])


def test_a_prior_makes_more_responses_honest():
    """The objective that the choice of k maximises; never below plain randomised response or the best guess."""
    rng = np.random.default_rng(1)
    for prior in rng.dirichlet(np.full(6, 0.4), 50):
        honest = (prior * np.diag(response_table(prior, 1.0))).sum()
        plain = (prior * np.diag(response_table(np.ones(6), 1.0))).sum()
        assert honest >= max(plain, prior.max()) - 1e-12
    skewed = np.array([0.6, 0.3, 0.04, 0.03, 0.02, 0.01])
    gain = (skewed * np.diag(response_table(skewed, 1.0))).sum() - math.e / (math.e + 5)
    assert gain > 0.2


def test_responses_are_drawn_with_those_probabilities():
    prior, labels = np.array([0.5, 0.3, 0.2]), np.repeat([0, 1, 2], 20_000)
    draws = np.random.default_rng(2).random(60_000)
    shown = randomise(labels, prior, 0.7, draws)
    found = np.array([np.bincount(shown[labels == y], minlength=3) / 20_000 for y in range(3)])
    np.testing.assert_allclose(found, response_table(prior, 0.7), atol=0.015)
    batches = randomise(labels.reshape(3, 400, 50), prior, 0.7, draws.reshape(3, 400, 50))
    np.testing.assert_array_equal(batches.ravel(), shown)


def test_without_privacy_labels_stay():
    labels = np.arange(40) % 4
    np.testing.assert_array_equal(randomise(labels, np.ones(4), math.inf, np.linspace(0, 0.999, 40)), labels)


def test_impossible_responses_are_never_drawn():
    table = response_table([0.7, 0.3, 0.0], 3.0)
    shown = randomise(np.array([0, 1, 2]), [0.7, 0.3, 0.0], 3.0, np.full(3, np.nextafter(1.0, 0.0)))
    assert (table[[0, 1, 2], shown] > 0).all()


@pytest.mark.parametrize(
    ("prior", "epsilon"), [([0.5, -0.1], 1.0), ([0.0, 0.0], 1.0), ([np.nan, 1.0], 1.0), ([0.5, 0.5], -1.0)]
)
def test_impossible_settings_are_refused(prior, epsilon):
    with pytest.raises(ValueError, match=r"prior|epsilon"):
        response_table(prior, epsilon)
