"""Feature inversion: what the first linear layer is given is exact, pictures that have it are near the true ones."""

from dataclasses import replace

import pytest
import torch
from inversion_cases import classes, granted, pictures, psnr, seeded, seen_of
from torch import nn
from torch.nn import functional as F

from ptaudit.attacks.inversion.feature_inversion import _layer
from ptaudit.attacks.inversion.linear_layers import feature_layer, linear_inputs
from ptaudit.attacks.inversion.messages import Budget
from ptaudit.attacks.inversion.registry import ATTACKS
from ptaudit.attacks.inversion.separation import several

LIKE = pictures(64, seed=9)
ATTACK = ATTACKS["feature-inversion"]


class Pooled(nn.Module):
    """Convolution, ReLU and max-pooling as functions, as in many models: no chain of layers that could be undone."""

    def __init__(self, hidden=32, bias=True):
        super().__init__()
        self.conv = nn.Conv2d(1, 8, 5, padding=2)
        self.hidden, self.head = nn.Linear(8 * 36, hidden, bias=bias), nn.Linear(hidden, 5)

    def forward(self, x):
        x = F.max_pool2d(F.relu(self.conv(x)), 2).flatten(1)
        return self.head(F.relu(self.hidden(x)))


def rebuilt(model, x, y, iterations=200, restarts=1, **more):
    known = granted(model, LIKE, **more)
    budget = Budget(iterations=iterations, restarts=restarts)
    return ATTACK.rebuild(seen_of(model, x, y), known, budget, torch.Generator().manual_seed(0))


def gain(found, x):
    return (psnr(found.records, x) - psnr(LIKE.mean(0).expand_as(x), x)).mean()


def test_records_behind_pooling_are_found():
    x, y, model = pictures(6)[:, None], classes(6)[:, None], seeded(Pooled)
    found = rebuilt(model, x, y)
    assert torch.equal(found.labels, y)
    assert not found.unsolved.any()
    assert gain(found, x) > 8.0


@pytest.mark.parametrize("labels", [True, False])
def test_features_of_a_batch_are_those_of_its_records(labels):
    x, y, model = pictures(4)[None], classes(4)[None], seeded(lambda: Pooled(512))
    known = granted(model, LIKE, labels=y if labels else None)
    path = feature_layer(known)
    layer, seen = _layer(known, path), seen_of(model, x, y)
    assert path == "hidden"
    found = list(several(layer.sums(seen, 0), layer, layer.pool(0), 4))
    true = linear_inputs(known, path, x[0]).double()
    gaps = torch.cdist(torch.stack([vector for vector, _ in found]), true) / true.norm(dim=1)
    assert len(found) == 4
    assert gaps.amin(1).max() < 1e-3
    assert sorted(gaps.argmin(1).tolist()) == [0, 1, 2, 3]
    assert [int(label) for _, label in found] == y[0, gaps.argmin(1)].tolist()


def test_records_of_a_batch_are_rebuilt():
    x, y, model = pictures(4)[None], classes(4)[None], seeded(lambda: Pooled(512))
    assert gain(rebuilt(model, x, y), x) > 8.0


def test_more_starts_come_no_farther():
    x, y, model = pictures(2)[:, None], classes(2)[:, None], seeded(Pooled)
    layers = [rebuilt(model, x, y, 30, restarts).records.squeeze(1) for restarts in (1, 3)]
    known = granted(model, LIKE)
    true = linear_inputs(known, "hidden", x.squeeze(1))
    one, three = ((linear_inputs(known, "hidden", some) - true).norm(dim=1) for some in layers)
    assert (three <= one * 1.5).all()


def test_under_noise_that_hides_everything_it_says_nothing():
    x, y, model = pictures(3)[:, None], classes(3)[:, None], seeded(Pooled)
    seen = seen_of(model, x, y)
    dice = torch.Generator().manual_seed(0)
    loud = {path: g + 10.0 * torch.randn(g.shape, generator=dice) for path, g in seen.gradients.items()}
    noisy = replace(seen, gradients=loud, noise_std=10.0)
    found = ATTACK.rebuild(noisy, granted(model, LIKE), Budget(iterations=5), torch.Generator())
    assert found.unsolved.all()
    assert torch.equal(found.records, LIKE.mean(0).expand_as(found.records))


def test_it_says_why_it_does_not_apply():
    x, y = pictures(2)[None], classes(2)[None]
    models = {
        "no linear layer is given one vector": nn.Sequential(nn.Conv2d(1, 5, 12), nn.Flatten()),
        "no linear layer is given one vector of each": seeded(lambda: Pooled(bias=False)),
    }
    for reason, model in models.items():
        assert reason in ATTACK.why_not(seen_of(model, x, y), granted(model, LIKE))
    model = seeded(Pooled)
    seen = seen_of(model, x, y)
    part = replace(seen, gradients={path: g for path, g in seen.gradients.items() if path != "hidden.bias"})
    assert "(hidden) are not both shared" in ATTACK.why_not(part, granted(model, LIKE))
    assert "clipping, noise" in ATTACK.why_not(seen, granted(model, LIKE, clip=1.0))
