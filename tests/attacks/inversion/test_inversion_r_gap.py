"""R-GAP: layers are undone exactly where their equations say all, and nothing is claimed where they do not."""

from dataclasses import replace

import pytest
import torch
from inversion_cases import classes, dense, granted, pictures, psnr, seeded, seen_of
from torch import nn
from torch.nn import functional as F

from ptaudit.attacks.inversion.messages import Budget
from ptaudit.attacks.inversion.registry import ATTACKS
from ptaudit.spec.defenses import UNDEFENDED

LIKE = pictures(64, seed=9)
ATTACK = ATTACKS["r-gap"]


def chain(activation, bias=True, stride=2):
    def build():
        return nn.Sequential(
            nn.Conv2d(1, 6, 3, padding=1, bias=bias),
            activation(),
            nn.Conv2d(6, 12, 3, padding=1, stride=stride, bias=bias),
            activation(),
            nn.Flatten(),
            nn.Linear(12 * (12 // stride) ** 2, 20, bias=bias),
            activation(),
            nn.Linear(20, 5, bias=bias),
        )

    return seeded(build)


def rebuilt(model, x, y, **more):
    known = granted(model, LIKE, **more)
    return ATTACK.rebuild(seen_of(model, x, y), known, Budget(), torch.Generator())


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(
    "activation", [lambda: nn.LeakyReLU(0.2), nn.Tanh, nn.Sigmoid], ids=["leaky", "tanh", "sigmoid"]
)
def test_activations_that_can_be_undone_give_the_record_back(activation, bias):
    x, y, model = pictures(2)[:, None], classes(2)[:, None], chain(activation, bias)
    found = rebuilt(model, x, y, labels=y)
    assert psnr(found.records, x).min() > 40.0
    assert found.objective.max() < 1e-4
    assert not found.unsolved.any()


def test_behind_relu_the_gradient_completes_what_the_outputs_do_not_tell():
    x, y, model = pictures(3)[:, None], classes(3)[:, None], chain(nn.ReLU, stride=1)
    found = rebuilt(model, x, y)
    assert torch.equal(found.labels, y)
    assert psnr(found.records, x).min() > 30.0


def test_it_says_why_a_model_cannot_be_undone():
    class Functional(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.head = nn.Conv2d(1, 2, 3), nn.Linear(200, 5)

        def forward(self, x):
            return self.head(F.relu(self.conv(x)).flatten(1))

    twice = nn.ReLU()
    models = {
        "what head is given is not what the layer before it gives": Functional(),
        "1 (MaxPool2d) cannot be undone": nn.Sequential(
            nn.Conv2d(1, 2, 3), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(50, 5)
        ),
        "called several times": nn.Sequential(
            nn.Flatten(), nn.Linear(144, 9), twice, nn.Linear(9, 9), twice, nn.Linear(9, 5)
        ),
        "the class scores are not those of a linear layer": nn.Sequential(nn.Conv2d(1, 5, 12), nn.Flatten()),
    }
    x, y = pictures(1)[None], classes(1)[None]
    for reason, model in models.items():
        assert reason in ATTACK.why_not(seen_of(model, x, y), granted(model, LIKE))


def test_it_does_not_apply_to_what_is_not_the_gradient_of_one_record():
    model, x, y = dense(), pictures(2)[None], classes(2)[None]
    assert "at most 1" in ATTACK.why_not(seen_of(model, x, y), granted(model, LIKE))
    seen, known = seen_of(model, x[:, :1], y[:, :1]), granted(model, LIKE)
    assert ATTACK.why_not(seen, known) == ""
    assert "without noise" in ATTACK.why_not(replace(seen, noise_std=0.1), known)
    assert "without noise" in ATTACK.why_not(seen, replace(known, clip=1.0))
    part = replace(seen, gradients={path: g for path, g in seen.gradients.items() if not path.startswith("1.")})
    assert "1.weight: not shared" in ATTACK.why_not(part, known)
    assert known.defense == UNDEFENDED


def test_a_gradient_that_is_zero_tells_nothing():
    x, y, model = pictures(2)[:, None], classes(2)[:, None], chain(nn.Tanh)
    seen = seen_of(model, x, y)
    nothing = replace(seen, gradients={path: torch.zeros_like(g) for path, g in seen.gradients.items()})
    found = ATTACK.rebuild(nothing, granted(model, LIKE, labels=y), Budget(), torch.Generator())
    assert found.unsolved.all()
    assert torch.equal(found.records, LIKE.mean(0).expand_as(found.records))
