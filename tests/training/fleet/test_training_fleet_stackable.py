"""What cannot be trained as one program is found out, with the reason in words."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from ptaudit.data import Records
from ptaudit.training.fleet.plan import make_plan
from ptaudit.training.fleet.stackable import why_not_stacked


class Looks(nn.Module):
    """Does another thing for other numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.layer(x)
        return y if y.sum() > 0 else 2 * y


class Own(nn.Module):
    """Numbers that are neither parameter nor buffer: every model has its own, a stack those of the first."""

    def __init__(self) -> None:
        super().__init__()
        self.layer, self.scale = nn.Linear(4, 3), torch.rand(4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layer(x * self.scale)


class Counts(nn.Module):
    """A buffer that a pass replaces."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 3)
        self.register_buffer("passes", torch.ones(()))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.passes = self.passes + 1
        return self.layer(x) / self.passes


class Bags(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.words, self.head = nn.Embedding(9, 4, sparse=True), nn.Linear(4, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.words(x).mean(1))


MODELS = {
    "dropout": (lambda: nn.Sequential(nn.Linear(4, 8), nn.Dropout(0.3), nn.Linear(8, 3)), "random numbers in training"),
    "control flow": (Looks, "what the model does depends on its numbers"),
    "numbers of its own": (Own, "as one program the gradient is not what it is for each model alone"),
    "a new buffer": (Counts, "as one program buffer passes is not what it is"),
    "no rule": (
        lambda: nn.Sequential(nn.utils.parametrizations.spectral_norm(nn.Linear(4, 3))),
        "no rule for several models",
    ),
}


@pytest.mark.parametrize("name", MODELS)
def test_a_model_that_cannot(name, fleet_context):
    model, reason = MODELS[name]
    assert reason in why_not_stacked(fleet_context(model))


def test_sparse_gradients(fleet_context):
    tokens = Records(torch.arange(120).reshape(40, 3) % 9, torch.arange(40) % 3, 3)
    context = fleet_context(Bags, records=tokens, optimizer={"name": "sgd"})
    assert why_not_stacked(context) == "layer words has sparse gradients"


TRAININGS = {
    "sharpness-aware": {"sam": {"rho": 0.05}},
    "bf16": {"precision": "bf16"},
    "defense": {"defense": {"name": "prune", "ratio": 0.5}},
}


@pytest.mark.parametrize("name", TRAININGS)
def test_a_training_that_cannot(name, fleet_context):
    assert name in why_not_stacked(fleet_context(**TRAININGS[name]))


def test_the_reason_is_that_of_the_plan(fleet_context):
    plan = make_plan(fleet_context(Looks), range(0, 8, 2), at_once=4)
    assert plan.at_once == 1
    assert str(plan) == "one after the other: what the model does depends on its numbers (if, while)"


def test_randomness_of_the_caller_is_left_alone(fleet_context):
    context = fleet_context(MODELS["dropout"][0])
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    why_not_stacked(context)
    assert torch.equal(torch.rand(3), expected)


def test_a_class_of_a_users_file_is_another_for_every_model(fleet_context):
    """The file is read again for each: the class has the same name and is not the same."""

    def of_a_file() -> nn.Module:
        class Net(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.layer = nn.Linear(4, 3)

            def forward(self, x: torch.Tensor) -> torch.Tensor:
                return self.layer(x)

        return Net()

    assert why_not_stacked(fleet_context(of_a_file)) == ""
