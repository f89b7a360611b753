"""The density of whole gradients by inner products, against the same density written out in all dimensions."""

import math
from dataclasses import dataclass, replace

import pytest
import torch
from attack_cases import explicit, factors, games, generator

from ptaudit.attacks.whole import SETTINGS, SHRINKAGE, Grams, Noise


@dataclass(frozen=True)
class Drawn(Noise):
    """Noise that was drawn on every parameter."""

    explicit: tuple[torch.Tensor, ...] = ()
    records: tuple[torch.Tensor, ...] = ()

    def draw(self, games):
        drawn = [(one @ noise.T, one.shape[1]) for one, noise in zip(self.records, self.explicit, strict=True)]
        return [*drawn, (drawn[0][0] + drawn[1][0], drawn[0][1] + drawn[1][1])]


def written_out(x, noise, own, members, candidates, std):
    """Normal log-densities of what is left when a candidate is taken out, `(shrinkages, G, K)`, from gradients `x`."""
    n, others = len(own), members.shape[1] - 1
    mean, centred = x[own].mean(0), x[own] - x[own].mean(0)
    scatter = centred.T @ centred / n
    mean_variance = float(torch.linalg.eigvalsh(centred @ centred.T).mean()) / n
    seen = x[members].sum(1) + noise
    left = seen[:, None] - x[candidates][None] - others * mean
    found = []
    for share in SHRINKAGE:
        covariance = others * (scatter + share * mean_variance * torch.eye(x.shape[1])) + std**2 * torch.eye(x.shape[1])
        found.append(-0.5 * ((left @ torch.linalg.inv(covariance)) * left).sum(-1))
    found = torch.stack(found)
    return found - found.amax(-1, keepdim=True)


@pytest.mark.parametrize(("m", "std"), [(1, 0.5), (4, 0.5), (4, 0.02), (16, 3.0)])
def test_inner_products_give_the_density_of_all_dimensions_under_noise(m, std):
    layers = [factors(96, 9, 12, seed=0), factors(96, 5, 7, seed=1)]
    x = [explicit(one).flatten(1).double() for one in layers]
    members, _ = games(96, 24, m, 40)
    own, candidates = torch.arange(56, 96), torch.arange(24)
    noise = [std * torch.randn(40, one.shape[1], generator=generator(5), dtype=torch.float64) for one in x]
    grams = Grams.under_noise([[one] for one in layers], std, generator())
    drawn = Drawn(std, grams.noise.roots, grams.noise.parameters, generator(), tuple(noise), tuple(x))
    doubled = replace(grams, gram=grams.gram.double(), noise=drawn)
    found = doubled.density(own, m - 1).scores(members, candidates).view(3, SETTINGS, 40, 24)
    for line, (one, more) in enumerate([*zip(x, noise), (torch.cat(x, 1), torch.cat(noise, 1))]):
        expected = written_out(one, more, own, members, candidates, std)
        assert torch.allclose(found[line, ::2].double(), expected, rtol=2e-3, atol=2e-2)
    assert doubled.noise.parameters == (9 * 12, 5 * 7)


def test_noise_on_inner_products_is_that_of_noise_on_parameters():
    layers = [factors(40, 6, 8, seed=0), factors(40, 4, 5, seed=1)]
    grams = Grams.under_noise([[one] for one in layers], 0.3, generator())
    drawn = grams.noise.draw(20_000)
    for gram, (noise, _) in zip(grams.gram, drawn, strict=True):
        size = 0.09 * gram.diagonal().max()
        assert torch.allclose(noise @ noise.T / 20_000, 0.09 * gram, atol=0.05 * float(size))
    assert torch.equal(drawn[2][0], drawn[0][0] + drawn[1][0])
    assert drawn[2][1] == drawn[0][1] + drawn[1][1] == 68


def test_of_one_record_the_posterior_is_exact():
    """Against a posterior by noise drawn on 5,000 parameters, of records that noise hides in part."""
    one, std, k, count = factors(128, 50, 100), 30.0, 64, 4096
    x = explicit(one).flatten(1)
    secret = torch.arange(count) % k
    scores = (
        Grams.under_noise([[one]], std, generator())
        .density(torch.arange(k, 128), 0)
        .scores(secret[:, None], torch.arange(k))[0]
    )
    seen = x[secret] + std * torch.randn(count, x.shape[1], generator=generator(3))
    exact = -0.5 * torch.cdist(seen, x[:k]).square() / std**2
    bits = [
        float(torch.log_softmax(s.double(), -1).gather(1, secret[:, None]).mean()) / math.log(2) + math.log2(k)
        for s in (scores, exact)
    ]
    assert 1.0 < bits[1] < 5.0
    assert bits[0] == pytest.approx(bits[1], abs=0.1)


def test_projected_layers_and_many_records_have_no_such_density():
    one = factors(96, 9, 12)
    assert Grams.under_noise([[one], [replace(one, whole=False)]], 0.1, generator()) is None
    assert Grams.under_noise([[factors(4097, 2, 2)]], 0.1, generator()) is None
    assert Grams.under_noise([], 0.1, generator()) is None
