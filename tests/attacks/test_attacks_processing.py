"""A processed or smaller view never shows more than its source: paired scores of records, on a small real network."""

import functools

import numpy as np
import pytest
import torch
from network_games import cross_entropy
from sklearn.datasets import load_digits
from torch import nn

from ptaudit.attacks.evidence import Algebra, Candidates
from ptaudit.attacks.known import Known
from ptaudit.attacks.observed_density import Effort
from ptaudit.defenses.prune import PruneDefense
from ptaudit.defenses.sign import SignDefense
from ptaudit.games.identity import measure as identity
from ptaudit.gradients.matrices import BatchSums
from ptaudit.sketches.reader import TokenReader
from ptaudit.views.joint import Joint
from ptaudit.views.observation import TokenObservation
from ptaudit.views.replayed import ReplayedObservation, batch_gradients
from ptaudit.views.view import View

N, K = 640, 64


@functools.cache
def audited():
    """Two epochs of training on digits; a convolution, a wide and a last layer."""
    torch.manual_seed(0)
    digits = load_digits()
    x = torch.from_numpy(digits.images[:N] / 16.0).float()[:, None]
    y = torch.from_numpy(digits.target[:N])
    model = nn.Sequential(
        nn.Conv2d(1, 6, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(),
        nn.Linear(96, 32), nn.ReLU(), nn.Linear(32, 10),
    )  # fmt: skip
    optimizer = torch.optim.SGD(model.parameters(), 0.1, momentum=0.9)
    for start in list(range(0, N, 32)) * 2:
        optimizer.zero_grad()
        cross_entropy(model(x[start : start + 32]), y[start : start + 32]).mean().backward()
        optimizer.step()
    model.eval()
    reader = TokenReader(model, cross_entropy, dim=64)
    reader.prepare(x, y)
    return reader, x, y, reader.read(x, y), reader.gradients(x, y)


@functools.cache
def scores(m, defense=None, rounds=1):
    """Bits of every record, for all layers jointly and for each: `(lines, N)`."""
    reader, x, y, tokens, kept = audited()
    view = View("v", m, rounds=rounds, defense=defense)
    layers = tokens.values.double()
    joint, own = Joint.of(layers), Candidates(kept)
    rows = joint.rows(layers)
    groups = [list(range(len(rows))), *([i] for i in range(len(layers)))]
    if defense is None:
        algebra = Algebra(TokenObservation(rows, 0.0, BatchSums(kept)), own)
        return identity.play(Known(rows, view, algebra=algebra), groups, Effort(K), 0).values[0]
    shared = dict(zip([layer.name for layer in tokens.layers], kept, strict=True))
    seen = ReplayedObservation.of(reader, batch_gradients(reader.source, x, y, view), view, joint, shared)
    return identity.play(Known(rows, view, seen, seen, Algebra(seen, own)), groups, Effort(K), 0).values[0]


def least_gain(source, smaller, draws=2000):
    """Lower one-sided bound of 97.5 % of what the smaller view shows above its source, record by record."""
    gain = (smaller - source).double().numpy()
    generator = np.random.default_rng(0)
    weights = generator.multinomial(len(gain), np.full(len(gain), 1.0 / len(gain)), draws) / len(gain)
    return float(np.quantile(weights @ gain, 0.025)), float(gain.mean())


@pytest.mark.parametrize("m", [8, pytest.param(32, marks=pytest.mark.slow)])
def test_one_layer_never_shows_more_than_all(m):
    whole = scores(m)
    for line in range(1, len(whole)):
        low, mean = least_gain(whole[0], whole[line])
        assert low <= 1e-3, (line, mean)
        assert mean < 0.1


@pytest.mark.parametrize(
    "defense",
    [
        PruneDefense(name="prune", ratio=0.9),
        pytest.param(PruneDefense(name="prune", ratio=0.5), marks=pytest.mark.slow),
        SignDefense(name="sign"),
    ],
    ids=["prune 0.9", "prune 0.5", "sign"],
)
@pytest.mark.parametrize("m", [8, pytest.param(32, marks=pytest.mark.slow)])
def test_a_defended_view_never_shows_more_than_the_undefended_one(m, defense):
    source, defended = scores(m), scores(m, defense)
    for line in range(len(source)):
        low, mean = least_gain(source[line], defended[line])
        assert low <= 1e-3, (line, mean)


@pytest.mark.parametrize("m", [8])
def test_one_round_never_shows_more_than_three(m):
    source, smaller = scores(m, rounds=3), scores(m)
    for line in range(len(source)):
        low, mean = least_gain(source[line], smaller[line])
        assert low <= 1e-3, (line, mean)


def test_the_test_can_fail():
    """What a smaller view finds above its source is seen: sketches alone against the whole family."""
    _reader, _x, _y, tokens, _kept = audited()
    rows = Joint.of(tokens.values.double()).rows(tokens.values.double())
    blind = identity.play(Known(rows, View("v", 8)), [[0]], Effort(K), 0).values[0, 0]
    low, _ = least_gain(blind, scores(8)[0])
    assert low > 0.3
