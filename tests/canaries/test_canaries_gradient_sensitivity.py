"""Distances are those of one-record autograd, and so are their derivatives."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from canary_cases import autograd, records_of, table, trained
from torch import nn

from ptaudit.canaries import GradientSensitivity, HypothesisPair, ask
from ptaudit.errors import DataError
from ptaudit.training.loss import cross_entropy


@pytest.fixture
def case(tmp_path: Path):
    records, split = records_of(tmp_path, table(300))
    model = trained(records, split.members, steps=40).double()
    index = torch.from_numpy(split.held_out[:12])
    return records, model, records.inputs[index].double(), records.targets[index]


@pytest.mark.parametrize("clip", [None, 0.5])
def test_attribute_distances_are_those_of_autograd(case, clip: float | None) -> None:
    records, model, inputs, targets = case
    start, levels = records.fields["sex"].start, records.fields["sex"].levels
    expected = []
    for x, y in zip(inputs, targets):
        low, high = x.clone(), x.clone()
        place = slice(start, start + levels.shape[1])
        low[place], high[place] = levels[0], levels[1]
        both = [autograd(model, cross_entropy, one, y, clip) for one in (low, high)]
        expected.append(float((both[1] - both[0]).norm()))
    found = GradientSensitivity(model, cross_entropy, ask("attribute", records, "sex"), clip).distances(inputs, targets)
    np.testing.assert_allclose(found, expected, rtol=1e-9)


@pytest.mark.parametrize("clip", [None, 0.5])
def test_membership_distances_are_gradient_norms(case, clip: float | None) -> None:
    _, model, inputs, targets = case
    expected = [float(autograd(model, cross_entropy, x, y, clip).norm()) for x, y in zip(inputs, targets)]
    found = GradientSensitivity(model, cross_entropy, HypothesisPair(), clip).distances(inputs, targets)
    np.testing.assert_allclose(found, expected, rtol=1e-9)
    assert clip is None or found.max() <= clip * (1 + 1e-9)


def test_only_layers_that_are_seen_count_but_all_are_clipped(case) -> None:
    _, model, inputs, targets = case
    parts = [
        GradientSensitivity(model, cross_entropy, HypothesisPair(), 0.5, lambda layer, name=name: layer == name)
        for name in ("0", "2")
    ]
    squares = sum(sensitivity.distances(inputs, targets).square() for sensitivity in parts)
    whole = GradientSensitivity(model, cross_entropy, HypothesisPair(), 0.5).distances(inputs, targets)
    np.testing.assert_allclose(squares.sqrt(), whole, rtol=1e-9)
    assert all((sensitivity.distances(inputs, targets) < whole).all() for sensitivity in parts)


@pytest.mark.parametrize("clip", [None, 1.0])
def test_slopes_are_those_of_finite_differences(case, clip: float | None) -> None:
    records, model, inputs, targets = case
    sensitivity = GradientSensitivity(model, cross_entropy, ask("attribute", records, "sex"), clip)
    slope, distance = sensitivity.slopes(inputs, targets)
    np.testing.assert_allclose(distance, sensitivity.distances(inputs, targets), rtol=1e-9)
    for place in (0, 3, inputs.shape[1] - 1):
        step = torch.zeros_like(inputs)
        step[:, place] = 1e-6
        rise = (sensitivity.distances(inputs + step, targets) - sensitivity.distances(inputs - step, targets)) / 2e-6
        np.testing.assert_allclose(slope[:, place], rise, atol=1e-5)
    held = list(sensitivity.question.places)
    assert (slope[:, held] == 0).all()


class Branching(nn.Module):
    """Looks at a number of the batch: nothing can be mapped over it."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.inner(x) if bool(x.detach().sum() > -1e9) else x


def test_what_cannot_be_mapped_goes_one_by_one(case) -> None:
    records, model, inputs, targets = case
    question = ask("attribute", records, "sex")
    slow, fast = (GradientSensitivity(m, cross_entropy, question, 0.5) for m in (Branching(model), model))
    for one, two in zip(slow.slopes(inputs, targets), fast.slopes(inputs, targets)):
        np.testing.assert_allclose(one, two, atol=1e-10)
    differences = slow.differences(inputs, targets)
    assert set(differences) == {f"inner.{name}" for name, _ in model.named_parameters()}


def test_the_model_is_left_as_found() -> None:
    model = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4), nn.Dropout(0.5), nn.Linear(4, 2)).train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    sensitivity, targets = GradientSensitivity(model, cross_entropy, HypothesisPair()), torch.zeros(6, dtype=torch.long)
    inputs = torch.randn(6, 4, generator=torch.Generator().manual_seed(0))
    assert torch.equal(sensitivity.slopes(inputs, targets)[1], sensitivity.slopes(inputs, targets)[1])
    assert model.training
    assert all(p.grad is None for p in model.parameters())
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())


def test_inputs_may_be_several() -> None:
    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.head = nn.Linear(3, 2)

        def forward(self, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
            return self.head(a * b)

    model, draw = Two(), torch.Generator().manual_seed(0)
    a, b = torch.randn(5, 3, generator=draw), torch.randn(5, 3, generator=draw)
    targets = torch.tensor([0, 1, 0, 1, 0])
    sensitivity = GradientSensitivity(model, cross_entropy, HypothesisPair())
    together, named = sensitivity.distances((a, b), targets), sensitivity.distances({"b": b, "a": a}, targets)
    error = torch.softmax(model(a, b), 1) - nn.functional.one_hot(targets, 2)
    expected = error.norm(dim=1) * ((a * b).square().sum(1) + 1).sqrt()
    np.testing.assert_allclose(together, expected.detach(), rtol=1e-5)
    np.testing.assert_allclose(named, together, rtol=1e-6)


WRONG = [
    ("sx", None, "no input column 'sx' with few values (did you mean 'sex'?)"),
    ("age", None, "no input column 'age' with few values"),
    ("rich", None, "no input column 'rich'"),
    ("work", None, "column 'work' has 4 values: a, b, c, d (say which two with canaries.values)"),
    ("work", ["a", "z"], "column 'work' has no value 'z'"),
    ("level", [0, 7], "column 'level' has no value '7'"),
]


@pytest.mark.parametrize(("name", "values", "message"), WRONG)
def test_an_attribute_that_is_none_is_named(tmp_path: Path, name: str, values: list | None, message: str) -> None:
    records, _ = records_of(tmp_path, table(200))
    with pytest.raises(DataError) as caught:
        ask("attribute", records, name, values)
    assert message in str(caught.value)
    assert str(caught.value).startswith("canaries.")


def test_a_column_with_one_value_is_no_attribute(tmp_path: Path) -> None:
    records, _ = records_of(tmp_path, table(200).assign(sex="Male"))
    with pytest.raises(DataError, match="no input column 'sex' with few values"):
        ask("attribute", records, "sex")


def test_values_that_no_member_has_look_alike(tmp_path: Path) -> None:
    frame = table(200).assign(rare=["x"] * 198 + ["y", "z"])
    records, _ = records_of(tmp_path, frame, rare=5)
    with pytest.raises(DataError, match="do not tell 'y' from 'z'"):
        ask("attribute", records, "rare", ["y", "z"])


def test_numbers_may_be_values_and_name_the_level(tmp_path: Path) -> None:
    records, split = records_of(tmp_path, table(200))
    question = ask("attribute", records, "level", [5, 0.0])
    low, high = question.variants(records.inputs[:3])
    place = records.fields["level"].start
    assert (low[:, place] > high[:, place]).all()
    fits = question.fitting(records, split.held_out)
    assert set(records.fields["level"].codes[fits]) == {0, 5}


class Aliased(nn.Module):
    """Uses its weight from a list, where `torch.func` does not find it: to that it has no gradient."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(3))
        self.net = nn.Linear(3, 2)
        self.again = [self.scale]

    def forward(self, x):
        return self.net(torch.tanh(x * self.again[0]))


@pytest.mark.parametrize("clip", [None, 0.5])
def test_a_weight_that_torch_func_does_not_find_counts(clip: float | None) -> None:
    torch.manual_seed(0)
    model, inputs, targets = Aliased(), torch.randn(7, 3), torch.arange(7) % 2
    sensitivity = GradientSensitivity(model, cross_entropy, HypothesisPair(), clip)
    expected = [float(autograd(model, cross_entropy, x, y, clip).norm()) for x, y in zip(inputs, targets)]
    np.testing.assert_allclose(sensitivity.distances(inputs, targets), expected, rtol=1e-6)
    step = 1e-2 * torch.eye(3)[1]
    up, down = (sensitivity.distances(inputs + sign * step, targets) for sign in (1, -1))
    slope, distance = sensitivity.slopes(inputs, targets)
    np.testing.assert_allclose(distance, expected, rtol=1e-6)
    np.testing.assert_allclose(slope[:, 1], (up - down) / 2e-2, rtol=1e-2, atol=1e-3)
