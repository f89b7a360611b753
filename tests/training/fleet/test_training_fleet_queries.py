"""Several views of each record: what they are, and that all models are asked the same."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from ptaudit.data import Records
from ptaudit.errors import DataError
from ptaudit.progress import Silent
from ptaudit.spec.fleet import FleetSpec
from ptaudit.training.fleet.alone import Alone
from ptaudit.training.fleet.fleet import train_fleet
from ptaudit.training.fleet.queries import MOST, Queries
from ptaudit.training.fleet.stack import Stack


def records_of(inputs):
    return Records(inputs, torch.zeros(len(inputs), dtype=torch.int64), 2)


def test_pictures_are_mirrored_and_shifted_by_a_pixel():
    picture = torch.arange(1.0, 13.0).view(1, 1, 3, 4)
    queries = Queries.of(MOST, records_of(picture))
    seen = [queries.ask(picture, query) for query in range(MOST)]
    assert torch.equal(seen[0], picture)
    assert seen[1][0, 0].tolist() == [row[::-1] for row in picture[0, 0].tolist()]
    assert seen[2][0, 0].tolist() == [[0.0, *row[:-1]] for row in picture[0, 0].tolist()]
    shifts = {(down, right) for down in (-1, 0, 1) for right in (-1, 0, 1)}
    slow = []
    for mirrored in (False, True):
        for down, right in shifts:
            moved = np.zeros((3, 4))
            for i in range(3):
                for j in range(4):
                    if 0 <= i - down < 3 and 0 <= j - right < 4:
                        moved[i, j] = picture[0, 0, i - down, (3 - (j - right)) if mirrored else j - right]
            slow.append(moved.tolist())
    assert sorted(one[0, 0].tolist() for one in seen) == sorted(slow)


def test_rows_get_the_same_small_noise_everywhere():
    inputs = torch.randn(500, 3) * torch.tensor([1.0, 10.0, 0.0])
    queries = Queries.of(4, records_of(inputs))
    changes = [queries.ask(inputs, query) - inputs for query in range(4)]
    assert not changes[0].any()
    for change in changes[1:]:
        assert torch.allclose(change, change[:1].expand_as(change), atol=1e-5)
        assert 0.0 < change[0, :2].abs().max() < 5.0
        assert change[0, 2] == 0.0
    assert len({tuple(change[0].tolist()) for change in changes}) == 4
    assert torch.equal(queries.ask(inputs[7:9], 2), queries.ask(inputs, 2)[7:9])


@pytest.mark.parametrize("inputs", [torch.zeros(4, 5, dtype=torch.int64), torch.zeros(4, 5, 6), (torch.zeros(4, 2),)])
def test_other_records_are_refused(inputs):
    records = Records(inputs, torch.zeros(4, dtype=torch.int64), 2)
    assert Queries.of(1, records).ask(inputs, 0) is inputs
    with pytest.raises(DataError, match=r"pictures .* or rows of decimal numbers"):
        Queries.of(2, records)


def test_models_as_one_program_and_alone_say_the_same_in_every_query(fleet_context):
    context = fleet_context(pool=20)
    context = replace(context, queries=Queries.of(3, context.records))
    models = (0, 2)
    modules = [context.build(context.training_seed(model)) for model in models]
    outputs, losses = Stack(context, models, modules).signals(0)
    assert losses.shape == (2, 3 * 20)
    inputs, targets = context.batch(context.pool)
    for place, model in enumerate(models):
        alone = Alone(context, model).signals(0)
        np.testing.assert_allclose(outputs[place], alone[0][0], rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(losses[place], alone[1][0], rtol=1e-5, atol=1e-6)
        for query in range(3):
            with torch.no_grad():
                said = modules[place].eval()(context.queries.ask(inputs, query))
            own = slice(query * 20, (query + 1) * 20)
            np.testing.assert_allclose(outputs[place, own], said.numpy(), rtol=1e-5, atol=1e-6)
            by_hand = torch.nn.functional.cross_entropy(said, targets, reduction="none")
            np.testing.assert_allclose(losses[place, own], by_hand.numpy(), rtol=1e-5, atol=1e-6)


def test_a_fleet_that_was_asked_otherwise_is_another_one(fleet_context, tmp_path):
    context, fleet = fleet_context(pool=20), FleetSpec(models=2, folder=str(tmp_path))
    asked = replace(context, queries=Queries.of(3, context.records))
    assert "queries" not in context.key
    said = train_fleet(asked, fleet, {}, Silent())
    assert said.losses.shape == (2, 3, 60)
    with pytest.raises(Exception, match=r"queries was 3, noise of 0\.1 standard deviations, is now None"):
        train_fleet(context, fleet, {}, Silent())
