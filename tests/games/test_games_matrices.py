"""Games about a batch on gradients with the algebra of networks, whose exact posterior is known."""

import math

import pytest
import torch
from inference_truth import channel_bits, observed

from ptaudit.games.attribute import latent as attribute
from ptaudit.games.distribution import measure as distribution
from ptaudit.games.label import measure as label
from ptaudit.games.property import measure as property
from ptaudit.gradients.matrices import BatchSums, Factors
from ptaudit.views.observation import TokenObservation
from ptaudit.views.view import View

N, CATEGORIES, UNITS = 1200, 4, 12
GROUPS = [[0, 1, 2], [0]]


def one_hot_inputs(seed=0):
    """Category of each record and its one-hot input, with 1 for the bias."""
    generator = torch.Generator().manual_seed(seed)
    kind = torch.randint(CATEGORIES, (N,), generator=generator)
    inputs = torch.nn.functional.one_hot(kind, CATEGORIES).float()
    return kind, torch.cat([inputs, torch.ones(N, 1)], 1)


def relu_deltas(seed=0):
    """What ReLU units of a network pass back: half are silent, sizes go over orders of magnitude."""
    generator = torch.Generator().manual_seed(100 + seed)
    size = (2.0 * torch.randn(N, 1, generator=generator)).exp()
    return size * torch.randn(N, UNITS, generator=generator) * (torch.rand(N, UNITS, generator=generator) < 0.5)


def observation(left, right, noise=0.0, sketch=16):
    """A layer of rank-one gradients, and a sketch of it that mixes everything; once more as both joint rows."""
    one = Factors(left[:, None].contiguous(), right[:, None].contiguous())
    flat = torch.einsum("ni,nj->nij", left, right).flatten(1).double()
    mixing = torch.randn(flat.shape[1], sketch, generator=torch.Generator().manual_seed(7), dtype=torch.float64)
    token = flat @ mixing / math.sqrt(sketch)
    return TokenObservation(torch.stack([token] * 3), noise, BatchSums([[one]], noise))


def bits(found):
    return found["combined"]["bits"][0]


@pytest.mark.parametrize("m", [pytest.param(1, marks=pytest.mark.slow), 4, pytest.param(16, marks=pytest.mark.slow)])
def test_a_column_that_nobody_uses_answers_the_property_game(m):
    kind, inputs = one_hot_inputs()
    seen = observation(relu_deltas(), inputs)
    found = property.measure(kind == 0, observed(View("v", m), seen, GROUPS), ["combined"])
    assert bits(found).value >= 0.95
    assert abs(bits(found).null) < 0.03


@pytest.mark.parametrize("m", [2, pytest.param(4, marks=pytest.mark.slow)])
def test_counts_in_a_batch_answer_the_attribute_game(m):
    """All records pass back the same, so a column is how many use it: exactly that is what can be known."""
    kind, inputs = one_hot_inputs()
    seen = observation(torch.ones(N, UNITS), inputs)
    found = attribute.measure(kind, observed(View("v", m), seen, GROUPS), ["combined"])
    exact = label.ceiling(kind, m)
    assert 0.95 * exact <= bits(found).value <= 1.05 * exact + 0.02


def test_counts_in_a_batch_answer_the_distribution_game():
    kind, inputs = one_hot_inputs()
    seen, has, ratios = observation(torch.ones(N, UNITS), inputs), kind < 2, [0.2, 0.8]
    found = distribution.measure(has, ratios, observed(View("v", 4), seen, GROUPS), ["combined"])
    assert bits(found).value >= 0.95 * distribution.ceiling(ratios, 4)


def test_signs_of_the_last_layer_name_the_classes_of_a_batch():
    """Over ReLU features a class's row of a softmax is negative only where a record has the class."""
    generator = torch.Generator().manual_seed(3)
    labels = torch.randint(4, (N,), generator=generator)
    logits = torch.randn(N, 4, generator=generator) + 6.0 * torch.nn.functional.one_hot(labels, 4)
    deltas = torch.softmax(logits, 1) - torch.nn.functional.one_hot(labels, 4)
    features = torch.cat([torch.randn(N, 30, generator=generator).relu(), torch.ones(N, 1)], 1)
    seen = observation(deltas, features)
    found = property.measure(labels == 2, observed(View("v", 4), seen, GROUPS), ["combined"])
    assert bits(found).value >= 0.9


@pytest.mark.parametrize("m", [pytest.param(1, marks=pytest.mark.slow), 4])
@pytest.mark.parametrize("seed", [0, pytest.param(1, marks=pytest.mark.slow)])
def test_random_secrets_give_nothing(m, seed):
    _, inputs = one_hot_inputs(seed)
    seen = observation(relu_deltas(seed), inputs)
    secret = torch.randint(3, (N,), generator=torch.Generator().manual_seed(50 + seed))
    found = attribute.measure(secret, observed(View("v", m), seen, GROUPS, seed=seed), ["combined"])
    assert bits(found).lo == 0.0
    assert bits(found).value < 0.02
    assert abs(bits(found).null) < 0.03


def test_sketches_and_matrices_of_a_noisy_view_are_one_look():
    """A single number and noise: who took sketch and matrix for two looks would claim more than the channel lets."""
    kind = torch.arange(N) % 2
    seen = observation(torch.where(kind == 1, 1.5, 0.0)[:, None], torch.ones(N, 1), noise=1.0)
    whole = torch.where(kind == 1, 1.5, 0.0).double()[None, :, None]
    seen = TokenObservation(whole.repeat(2, 1, 1), 1.0, seen.sums)
    found = property.measure(kind == 1, observed(View("v", 1, noise_std=1.0), seen, [[0, 1]]), ["combined"])
    exact = channel_bits(1.5)
    assert 0.85 * exact <= bits(found).value <= 1.1 * exact


def test_the_ceiling_of_labels_is_what_counts_allow():
    """Of two records of two equally likely classes: half of the batches are of one class, the others tell nothing."""
    fair = torch.arange(1000) % 2
    assert label.ceiling(fair, 2) == pytest.approx(0.5, abs=0.01)
    assert label.ceiling(fair, 1) == pytest.approx(1.0, abs=1e-9)
    assert label.ceiling(fair, 2) < label.ceiling(fair, 2, rounds=3) < 1.0
