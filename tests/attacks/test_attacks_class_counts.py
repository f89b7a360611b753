"""Class counts from the gradient of a last layer, and the likelihood ratio that they sharpen."""

import math

import pytest
import torch
from attack_cases import generator

from ptaudit.attacks.class_counts import MOST_ROWS, CountedDensity, CountReader, numbers_of
from ptaudit.attacks.evidence import EVERY
from ptaudit.attacks.nuisance_density import fit_gaussian, log_density
from ptaudit.gradients import Dense, Factors, UsedRows
from ptaudit.views import View
from ptaudit.views.aggregate import draw_games, sums

N, C, M, CANDIDATES = 600, 5, 6, 60
OWN, OTHERS = torch.arange(300, 600), torch.arange(300)


def last_layer(classes, confidence):
    """Gradients of a linear layer with a bias, for predictions that lean towards a random class by `confidence`."""
    logits = confidence * torch.randn(N, C, generator=generator(1))
    delta = torch.softmax(logits, 1) - torch.nn.functional.one_hot(classes, C)
    inputs = torch.cat([torch.randn(N, 7, generator=generator(2)), torch.ones(N, 1)], 1)
    return [Factors(delta[:, None], inputs[:, None])]


def numbers(classes, confidence):
    return numbers_of(last_layer(classes, confidence), N)


def labels():
    return torch.randint(0, C, (N,), generator=generator(3))


def true_counts(classes, members):
    return torch.nn.functional.one_hot(classes[members], C).sum(1).double()


def test_counts_are_read_where_predictions_say_little():
    classes = labels()
    reader = CountReader.of(numbers(classes, 0.1), classes, OWN)
    members = torch.stack([torch.randperm(300, generator=generator(i))[:M] for i in range(50)])
    assert torch.equal(reader.counts(members), true_counts(classes, members))
    assert reader.finds(OTHERS, M)


def test_where_predictions_vary_the_counts_are_not_to_be_had():
    classes = labels()
    assert not CountReader.of(numbers(classes, 6.0), classes, OWN).finds(OTHERS, M)


def test_what_is_learned_by_heart_is_not_found():
    """As many numbers as records, which say nothing of the classes: the labels of the own records fit, no others do."""
    classes = torch.arange(N) % 150
    noise = torch.randn(N, 300, generator=generator(7), dtype=torch.float64)
    reader = CountReader.of(noise, classes, OWN)
    assert reader.finds(OWN, M)
    assert not reader.finds(OTHERS, M)


def test_numbers_are_taken_piece_by_piece():
    values = torch.randn(N, 40, 500, generator=generator(8))
    exact = torch.cat([values[..., -1], values.sum(-1)], 1).double()
    torch.testing.assert_close(numbers_of([Dense(values)], N), exact, rtol=1e-4, atol=1e-4)


def test_a_layer_that_is_no_output_is_not_read():
    words = UsedRows(torch.zeros(N, 1, dtype=torch.long), torch.ones(N, 1, 4), MOST_ROWS + 1)
    assert numbers_of([words], N) is None
    assert numbers_of([], N) is None


def bits(scores, secret):
    posterior = torch.log_softmax(scores.double(), -1).gather(-1, secret[:, None])
    return math.log2(CANDIDATES) + float(posterior.mean()) / math.log(2.0)


def drawn(confidence=0.1, means=3.0):
    """Two coordinates of classes far apart, and games among them: tokens `(1, N, 2)`, the games and the counts."""
    classes = labels()
    centres = means * torch.randn(C, 2, generator=generator(4), dtype=torch.float64)
    tokens = (centres[classes] + torch.randn(N, 2, generator=generator(5), dtype=torch.float64))[None]
    games = draw_games(CANDIDATES, 240, 20, View("v", M), generator(6))
    members = torch.cat([games.secret[:, None], CANDIDATES + games.others[0]], 1)
    reader = CountReader.of(numbers(classes, confidence), classes, OWN)
    return classes, centres, tokens, members, games.secret, reader


def test_with_known_counts_the_density_is_the_exact_posterior():
    """Of normal tokens within classes: what is left has m - 1 times the variance, and a count its multinomial odds."""
    classes, centres, tokens, members, secret, reader = drawn()
    candidates = torch.arange(CANDIDATES)
    counts = true_counts(classes, members)
    left = tokens[0][members].sum(1) - counts @ centres
    apart = (left[:, None] - (tokens[0] - centres[classes])[candidates]).square().sum(-1)
    exact = bits(-0.5 * apart / (M - 1) + counts.log()[:, classes[candidates]], secret)
    density = CountedDensity.fit(reader, tokens, OWN, M - 1)
    normal, heavier = density.scores(members, candidates)
    assert density.rows == (EVERY, EVERY)
    assert bits(normal, secret) == pytest.approx(exact, rel=0.05)
    assert bits(heavier, secret) == pytest.approx(exact, rel=0.08)
    plain = fit_gaussian(tokens[:, OWN], M - 1, 0.0, refine=True)
    blind = log_density(plain.distances(sums(tokens, members), tokens[:, candidates]), math.inf, 2)[0]
    assert bits(normal, secret) > bits(blind, secret) + 0.5


def test_wrong_counts_are_felt():
    """Nothing of the true counts reaches the scores but what the gradient tells of them."""
    classes, _, tokens, members, secret, _ = drawn()
    blind = CountReader.of(numbers(classes[torch.randperm(N, generator=generator(9))], 0.1), classes, OWN)
    scores = CountedDensity.fit(blind, tokens, OWN, M - 1).scores(members, torch.arange(CANDIDATES))
    exact = drawn()
    known = CountedDensity.fit(exact[-1], tokens, OWN, M - 1).scores(members, torch.arange(CANDIDATES))
    assert bits(scores[0], secret) < bits(known[0], secret) - 1.0
