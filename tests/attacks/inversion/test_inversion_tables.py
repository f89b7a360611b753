"""Rows of tables by search: exact where a gradient tells all, mixed columns, starts that vote."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from inversion_cases import seeded, shared
from torch import nn

from ptaudit.attacks.inversion.messages import Budget, Granted, InputSpace
from ptaudit.attacks.inversion.registry import ATTACKS
from ptaudit.attacks.inversion.tableak import _rows, _together
from ptaudit.stats.fidelity import assignment
from ptaudit.training.loss import cross_entropy

GROUPS = (slice(2, 5), slice(5, 9))
NUMBERS = 2


def people(n, seed=0):
    """Two numbers, and categories of three and of four values."""
    generator = torch.Generator().manual_seed(seed)
    numbers = torch.randn(n, NUMBERS, generator=generator)
    levels = [torch.randint(size, (n,), generator=generator) for size in (3, 4)]
    codes = [nn.functional.one_hot(level, size).float() for level, size in zip(levels, (3, 4))]
    return torch.cat([numbers, *codes], 1), torch.randint(2, (n,), generator=generator)


def known_of(model, groups=GROUPS, **more):
    like, _ = people(200, seed=9)
    low, high = like.amin(0), like.amax(0)
    space = InputSpace((9,), "table", low, high, like.mean(0), like.std(0), 2, groups=groups)
    return Granted(model, cross_entropy, space, prior=like.mean(0), **more)


def seen_of(model, x, y):
    every = []
    for some, labels in zip(x, y):
        found = torch.autograd.grad(cross_entropy(model(some), labels).mean(), list(model.parameters()))
        every.append([{path: g for (path, _), g in zip(model.named_parameters(), found)}])
    return shared(every, x.shape[1])


def rebuilt(seen, known, **budget):
    return ATTACKS["tableak"].rebuild(seen, known, Budget(**budget), torch.Generator().manual_seed(0))


def levels(rows):
    return torch.stack([rows[..., group].argmax(-1) for group in GROUPS], -1)


def linear():
    return seeded(lambda: nn.Linear(9, 2))


def deep():
    return seeded(lambda: nn.Sequential(nn.Linear(9, 32), nn.ReLU(), nn.Linear(32, 2)))


def test_a_row_behind_a_linear_model_is_exact():
    (x, y), model = people(6), linear()
    x, y = x[:, None].clamp(-1.5, 1.5), y[:, None]
    found = rebuilt(seen_of(model, x, y), known_of(model), restarts=2)
    assert torch.equal(found.records[..., NUMBERS:], x[..., NUMBERS:])
    # A softmax that is not at its end yet leaves numbers a little short.
    assert (found.records[..., :NUMBERS] - x[..., :NUMBERS]).abs().max() < 0.05
    assert torch.equal(found.labels, y)


def test_rows_of_a_batch_are_found_more_often_than_guessed_and_not_from_the_gradient_of_others():
    (x, y), model = people(24), deep()
    x, y = x.view(8, 3, 9), y.view(8, 3)
    known = known_of(model, labels=y)
    found = rebuilt(seen_of(model, x, y), known, restarts=3, iterations=200).records
    guess = levels(known.prior)

    def right(rows):
        return sum(
            float((levels(some[assignment(own.numpy(), some.numpy()).argsort()]) == levels(own)).float().mean())
            for some, own in zip(rows, x)
        ) / len(x)

    assert right(found) > 0.8
    assert right(found) > float((guess == levels(x)).float().mean()) + 0.3
    assert right(found.roll(1, 0)) < right(found) - 0.2


def test_every_answer_is_a_row_that_there_can_be():
    (x, y), model = people(4), deep()
    found = rebuilt(seen_of(model, x[None], y[None]), known_of(model), iterations=5).records
    for group in GROUPS:
        assert torch.equal(found[..., group].sort(-1).values[..., :-1], torch.zeros_like(found[..., group][..., :-1]))
        assert (found[..., group].sum(-1) == 1.0).all()
    low, high = known_of(model).space.low, known_of(model).space.high
    assert ((found >= low) & (found <= high)).all()


def test_without_groups_columns_are_numbers():
    (x, y), model = people(3), linear()
    x, y = x[:, None].clamp(-1.5, 1.5), y[:, None]
    found = rebuilt(seen_of(model, x, y), known_of(model, groups=()))
    assert (found.records - x).abs().max() < 0.05


def test_starts_vote_by_how_sure_they_are():
    known = known_of(linear())
    rows = torch.zeros(3, 1, 9)
    rows[:, 0, :2] = torch.tensor([[1.0, 5.0], [2.0, 5.0], [9.0, 5.0]])
    # Two starts lean to the second value, one is sure of the third.
    rows[:, 0, 2:5] = torch.tensor([[0.3, 0.4, 0.3], [0.3, 0.4, 0.3], [0.0, 0.0, 1.0]])
    rows[:, 0, 5:9] = torch.tensor([[0.9, 0.1, 0.0, 0.0], [0.8, 0.2, 0.0, 0.0], [0.0, 0.6, 0.4, 0.0]])
    one = _rows(rows[None], known.space.groups)[0, 0]
    assert one[:2].tolist() == [2.0, 5.0]
    assert [int(one[group].argmax()) for group in GROUPS] == [2, 0]
    # A start that explains far less has no say.
    told = _together(rows, torch.tensor([0.1, 0.1, 0.9]), known.space.groups)[0]
    assert int(told[GROUPS[0]].argmax()) == 1
    # The rows of a batch come in another order from every start.
    pair = torch.stack([torch.cat([rows[0], rows[2]]), torch.cat([rows[2], rows[0]])])
    assert torch.equal(_together(pair, torch.tensor([0.1, 0.1]), known.space.groups)[:, 0], torch.tensor([1.0, 9.0]))


def test_budgets_and_kinds():
    (x, y), model = people(2), linear()
    seen, known = seen_of(model, x[None], y[None]), known_of(model)
    over = rebuilt(seen, known, seconds=1e-9)
    assert over.ran_out
    assert over.iterations == 0
    assert rebuilt(seen, known, iterations=3).iterations == 3
    picture = replace(known, space=replace(known.space, kind="picture"))
    with pytest.raises(ValueError, match="rebuilds no picture inputs"):
        rebuilt(seen, picture)
