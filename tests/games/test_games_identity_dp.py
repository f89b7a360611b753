"""Noise on the sum of clipped tokens says what the noisy gradient says (the DP view)."""

import math

import pytest
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.nn import functional as F

from ptaudit.attacks.known import Known
from ptaudit.attacks.observed_density import Effort
from ptaudit.games.identity.measure import measure
from ptaudit.gradients.projection import LayerSketch
from ptaudit.sketches.reader import TokenReader
from ptaudit.views.view import View

DIM, RECORDS, CANDIDATES = 256, 1024, 256


def per_record_loss(output, target):
    return F.cross_entropy(output, target, reduction="none")


@pytest.fixture(scope="module")
def net_and_gradients():
    """A net with 100 parameters for each number of a token, its tokens and its gradients, one backward a record."""
    digits = load_digits()
    x = torch.tensor(digits.data[:RECORDS] / 16.0, dtype=torch.float32)
    y = torch.tensor(digits.target[:RECORDS])
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = nn.Sequential(nn.Linear(64, 320), nn.Tanh(), nn.Linear(320, 24), nn.Tanh(), nn.Linear(24, 10))
    parameters = list(net.parameters())
    assert sum(p.numel() for p in parameters) >= 100 * DIM
    rows = []
    for i in range(RECORDS):
        grads = torch.autograd.grad(per_record_loss(net(x[i : i + 1]), y[i : i + 1]).sum(), parameters)
        rows.append(torch.cat([g.flatten() for g in grads]))
    reader = TokenReader(net, per_record_loss, dim=DIM, seed=0)
    reader.prepare(x[:64], y[:64])
    return net, reader.read(x, y), torch.stack(rows)


def clipped(values, norm, clip):
    return values * (clip / norm).clamp_max(1.0)[:, None]


def exact_bits(gram, noise, sets=8, repeats=2):
    """The exact posterior over candidates in the full space: only inner products of gradients and noise matter."""
    generator = torch.Generator().manual_seed(5)
    total = []
    for _ in range(sets):
        index = torch.randperm(len(gram), generator=generator)[:CANDIDATES]
        inner = gram[index][:, index]
        values, vectors = torch.linalg.eigh(inner)
        root = vectors * values.clamp_min(0.0).sqrt()
        square = inner.diagonal()
        for _ in range(repeats):
            hidden = noise * torch.randn(CANDIDATES, CANDIDATES, generator=generator, dtype=torch.float64) @ root.T
            # Row i: the view g_i + noise z; ||view - g_j||^2 less what does not depend on j.
            distance_sq = square[None, :] - 2.0 * (inner + hidden)
            log_p = torch.log_softmax(-distance_sq / (2.0 * noise**2), -1)
            # The negative entropy has the mean of log p(secret) and less variance.
            total.append(math.log2(CANDIDATES) + (log_p.exp() * log_p).sum(-1).mean() / math.log(2.0))
    return float(torch.stack(total).mean())


def bits(tokens, clip, noise, parameters=None):
    view = View("dp", 1, clip=clip, noise_std=noise)
    return measure(Known(tokens[None].double(), view), [[0]], [parameters], Effort(CANDIDATES))[1]["bits"][0]


@pytest.mark.parametrize("sigma", [0.3, 0.5, 1.0])
def test_tokens_agree_with_the_exact_posterior_on_clipped_gradients(net_and_gradients, sigma):
    _, tokens, gradients = net_and_gradients
    norm = gradients.norm(dim=1)
    assert tokens.complete
    torch.testing.assert_close(tokens.total_norm_sq.sqrt(), norm, rtol=1e-4, atol=1e-6)
    clip = float(norm.median())
    true = clipped(gradients.double(), norm.double(), clip)
    exact = exact_bits(true @ true.T, sigma * clip)
    joint = clipped(tokens.values.sum(0), tokens.total_norm_sq.sqrt(), clip)
    found = bits(joint, clip, sigma * clip, gradients.shape[1])
    assert exact > 0.1
    assert found.value == pytest.approx(exact, rel=0.15)
    assert found.value <= found.ceiling
    d = gradients.shape[1]
    assert found.ceiling == pytest.approx(min(8.0, d / 2 * math.log2(1 + 1 / (d * sigma**2))))


def test_projecting_noise_of_the_full_space_would_hide_everything(net_and_gradients):
    """The mistake that the views must not make: it makes every DP view look private."""
    net, tokens, gradients = net_and_gradients
    norm = gradients.norm(dim=1)
    clip, sigma = float(norm.median()), 0.5
    generator = torch.Generator().manual_seed(1)
    projected = torch.zeros(64, DIM)
    for info in tokens.layers:
        shapes = {name: p.shape for name, p in net.get_submodule(info.name).named_parameters()}
        noise = {name: torch.randn(64, *shape, generator=generator) for name, shape in shapes.items()}
        projected += LayerSketch(info.name, shapes, DIM, 0)(noise)
    diluted = float(projected.std())
    joint = clipped(tokens.values.sum(0), tokens.total_norm_sq.sqrt(), clip)
    right, wrong = bits(joint, clip, sigma * clip), bits(joint, clip, sigma * clip * diluted)
    assert diluted > 5.0
    assert wrong.value < 0.1 * right.value
