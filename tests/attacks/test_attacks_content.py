"""Decoders of a record's content, their features and their predictive, held against plain versions."""

import math

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from ptaudit.attacks.content import conv, linear, mlp, predictive
from ptaudit.attacks.content.family import Task, best_of, coordinatewise
from ptaudit.attacks.content.features import inputs_of
from ptaudit.data.contents.base import NONE, Parts


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("d", [6, 60])
def test_ridge_is_the_solution_of_its_normal_equations(d):
    known, unseen = normal(40, d), normal(25, d, seed=1)
    known = (known - known.mean(0)) / known.std(0, correction=0)
    targets, truth = normal(2, 40, 3, seed=2) + 5.0, normal(2, 10, 3, seed=3) + 5.0
    found = linear.ridge(Task(known, targets, unseen, truth, (3,), 0))
    scatter = (known.T @ known / 40).double()
    unit = scatter.trace() / min(40, d)
    for version in range(2):
        mean = targets[version].mean(0)
        tried = []
        for penalty in linear.PENALTIES:
            weights = torch.linalg.solve(
                scatter + penalty * unit * torch.eye(d, dtype=torch.float64),
                (known.T @ (targets[version] - mean) / 40).double(),
            )
            answers = unseen.double() @ weights + mean
            tried.append((float((answers[:10] - truth[version]).square().mean()), answers))
        best = min(tried, key=lambda pair: pair[0])[1]
        torch.testing.assert_close(found[version].double(), best, rtol=2e-3, atol=2e-3)


def test_number_by_number_is_a_line_for_each():
    known, targets, unseen = normal(30, 4), normal(1, 30, 4, seed=1), normal(9, 4, seed=2)
    found = coordinatewise(known, targets, unseen)[0]
    for j in range(4):
        line = np.polyfit(known[:, j].numpy(), targets[0, :, j].numpy(), 1)
        np.testing.assert_allclose(found[:, j].numpy(), np.polyval(line, unseen[:, j].numpy()), rtol=1e-3, atol=1e-4)


def test_each_version_has_its_own_best_setting():
    truth = torch.stack([torch.zeros(2, 1), torch.ones(2, 1)])
    settings = [torch.zeros(2, 3, 1), torch.ones(2, 3, 1), torch.full((2, 3, 1), math.nan)]
    assert best_of(settings, truth)[:, 0, 0].tolist() == [0.0, 1.0]


def batch_gradient(x, y, seed=0):
    torch.manual_seed(seed)
    net = nn.Sequential(nn.Linear(7, 5), nn.Tanh(), nn.Linear(5, 3))
    F.cross_entropy(net(x), y, reduction="sum").backward()
    return torch.cat([net[0].weight.grad, net[0].bias.grad[:, None]], 1)


def test_the_gradient_of_one_record_gives_its_input_back():
    x, y = normal(6, 7), torch.arange(6) % 3
    weight = torch.stack([batch_gradient(x[i : i + 1], y[i : i + 1]) for i in range(6)])
    found = inputs_of(weight)
    for name in ("shares", "largest", "leading"):
        torch.testing.assert_close(found[name], x, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(found["magnitudes"], x.abs(), rtol=1e-4, atol=1e-4)


def test_that_of_a_batch_is_a_weighted_mean_and_of_nothing_is_nothing():
    x, y = normal(4, 7).abs(), torch.tensor([0, 1, 2, 0])
    weight = batch_gradient(x, y)
    deltas = torch.stack([batch_gradient(x[i : i + 1], y[i : i + 1])[:, -1] for i in range(4)])
    row = int(deltas.sum(0).abs().argmax())
    share = deltas[:, row] / deltas[:, row].sum()
    torch.testing.assert_close(inputs_of(weight[None])["largest"][0], share @ x, rtol=1e-4, atol=1e-4)
    for values in inputs_of(torch.zeros(2, 5, 8)).values():
        assert float(values.abs().max()) == 0.0


def gaussian_channel(noise, n=4000, d=3, seed=0):
    truth = normal(n, d, seed=seed) @ torch.tensor([[2.0, 0.0, 0.0], [1.0, 1.0, 0.0], [0.0, 0.0, 5.0]])
    centred = truth - truth.mean(0)
    axes = torch.linalg.eigh(centred.T @ centred / n)
    white = centred @ axes.eigenvectors / axes.eigenvalues.sqrt()
    seen = white + noise * normal(n, d, seed=seed + 1)
    rebuilt = (seen / (1 + noise**2) * axes.eigenvalues.sqrt()) @ axes.eigenvectors.T + truth.mean(0)
    return rebuilt, truth


@pytest.mark.parametrize("noise", [0.1, 0.5, 2.0])
def test_bits_of_numbers_are_those_of_a_gaussian_channel(noise):
    rebuilt, truth = gaussian_channel(noise)
    parts = Parts(np.arange(3), (), NONE)
    told = predictive.fit(rebuilt[:2000], truth[:2000], predictive.Reference.of(truth[:2000], parts))
    expected = 1.5 * math.log2(1.0 + 1.0 / noise**2)
    assert float(told.bits(rebuilt[2000:], truth[2000:]).mean()) == pytest.approx(expected, abs=0.05 + 0.02 * expected)


def test_bits_of_what_says_nothing_are_none_and_a_record_that_was_missed_costs_few():
    rebuilt, truth = gaussian_channel(0.01)
    parts = Parts(np.arange(3), (), NONE)
    reference = predictive.Reference.of(truth, parts)
    none = predictive.fit(normal(4000, 3, seed=9), truth, reference).bits(normal(4000, 3, seed=8), truth)
    assert abs(float(none.mean())) < 0.01
    rebuilt[::20] = 0.0
    told = predictive.fit(rebuilt[:2000], truth[:2000], reference)
    bits = told.bits(rebuilt[2000:], truth[2000:])
    assert float(bits.min()) >= math.log2(1e-3) - 1e-6
    assert float(bits.mean()) > 0.85 * 1.5 * math.log2(1.0 + 1e4)


def test_bits_of_categories_end_at_the_entropy_of_the_prior():
    generator = torch.Generator().manual_seed(0)
    kind = torch.multinomial(torch.tensor([0.5, 0.25, 0.25]), 4000, True, generator=generator)
    binary = (torch.rand(4000, 2, generator=generator) < torch.tensor([0.5, 0.1])).float()
    truth = torch.cat([F.one_hot(kind, 3).float(), binary], 1)
    parts = Parts(NONE, (slice(0, 3),), np.array([3, 4]))
    reference = predictive.Reference.of(truth, parts)
    top = predictive.entropy(truth, reference)
    assert top == pytest.approx(1.5 + 1.0 + 0.469, abs=0.03)
    exact = predictive.fit(truth[:2000], truth[:2000], reference).bits(truth[2000:], truth[2000:])
    assert float(exact.mean()) == pytest.approx(predictive.entropy(truth[2000:], reference), rel=0.01)
    # Least squares from a symmetric channel of known capacity: one bit less its entropy.
    wrong = torch.rand(4000, generator=generator) < 0.2
    seen = torch.where(wrong, 1.0 - binary[:, 0], binary[:, 0])
    rebuilt = truth.mean(0).expand(4000, 5).clone()
    rebuilt[:, 3] = 0.5 + 0.6 * (seen - 0.5)
    bits = predictive.fit(rebuilt[:2000], truth[:2000], reference).bits(rebuilt[2000:], truth[2000:])
    assert float(bits.mean()) == pytest.approx(1.0 - 0.7219, abs=0.04)


@pytest.mark.parametrize("family", [linear.FAMILY, mlp.FAMILY, conv.FAMILY], ids=["linear", "mlp", "conv"])
def test_every_family_learns_pictures_from_a_code_of_them(family):
    codes = normal(450, 5)
    basis = F.interpolate(normal(5, 1, 2, 2, seed=3), size=(8, 8), mode="bilinear").flatten(1)
    pictures = codes @ basis
    turned = codes @ normal(5, 12, seed=4)
    turned = (turned - turned[:250].mean(0)) / turned[:250].std(0)
    task = Task(turned[:250], pictures[None, :250], turned[250:], pictures[None, 250:350], (1, 8, 8), 0)
    played = family.decode(task)[0, 100:]
    left = (played - pictures[350:]).square().mean() / (pictures[350:] - pictures[:250].mean(0)).square().mean()
    assert float(left) < (0.01 if family is linear.FAMILY else 0.3)
    torch.testing.assert_close(family.decode(task)[0, 100:], played, rtol=0.0, atol=0.0)
